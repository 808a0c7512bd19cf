//! Path templates and the paths they fit: read, written back, refused.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn literal(text: &str) -> Step {
    Step::Literal(text.to_owned())
}

#[test]
fn templates_read_as_they_are_written() {
    let template = Template::parse("/v1/trips/{trip_id}/offers/{offer_id}:accept").unwrap();
    let steps = [
        literal("v1"),
        literal("trips"),
        Step::One,
        literal("offers"),
        Step::One,
    ];
    assert_eq!(template.steps, steps);
    assert_eq!(template.verb.as_deref(), Some("accept"));
    assert_eq!(template.variables[1].field, ["offer_id"]);
    assert_eq!(
        (template.variables[1].first, template.variables[1].steps),
        (4, 1)
    );

    let template = Template::parse("/v1/{trip.name=riders/*/trips/*}/{rest=**}").unwrap();
    assert_eq!(template.variables[0].field, ["trip", "name"]);
    assert_eq!(
        (template.variables[0].first, template.variables[0].steps),
        (1, 4)
    );
    assert_eq!(template.steps[5], Step::Rest);

    assert_eq!(
        Template::parse("/v1/drivers:nearby")
            .unwrap()
            .verb
            .as_deref(),
        Some("nearby")
    );
    assert_eq!(
        Template::parse("/*/**").unwrap().steps,
        [Step::One, Step::Rest]
    );
}

#[test]
fn malformed_templates_are_refused_with_the_reason() {
    for (text, reason) in [
        ("", "does not begin with '/'"),
        ("v1", "does not begin with '/'"),
        ("/", "lacks a literal at the end"),
        ("/v1//x", "lacks a literal at"),
        ("/v1/{", "lacks a field name at the end"),
        ("/v1/{}", "lacks a field name at"),
        ("/v1/{a", "not closed"),
        ("/v1/{a.}", "lacks a field name at"),
        ("/v1/{1a}", "begins with a digit"),
        ("/v1/{a={b}}", "another variable"),
        ("/v1/{a=}", "lacks a literal at"),
        ("/v1/{a}/{a}", "twice"),
        ("/v1/**/x", "not at the end"),
        ("/v1/{a=**}/x", "not at the end"),
        ("/v1/x:", "lacks a literal at the end"),
        ("/v1/x:a:b", "cannot read on"),
        ("/v1/x?y", "cannot read on"),
        ("/v1/ü", "lacks a literal at"),
        ("/v1/{a}b", "cannot read on"),
        ("/v1/x:a/b", "cannot read on"),
    ] {
        let error = Template::parse(text).unwrap_err().to_string();
        assert!(error.contains(reason), "{text:?}: {error}");
        assert!(error.contains(&format!("{text:?}")), "{error}");
    }
}

#[test]
fn values_are_decoded() {
    let values =
        |template: &str, path: &str| Template::parse(template).unwrap().values(&Path::cut(path));
    assert_eq!(values("/v1/{a}:go", "/v1/x:go").unwrap(), ["x"]);
    assert_eq!(
        values("/v1/{a}", "/v1/a%20b%2Fc%3Ad+e").unwrap(),
        ["a b/c:d+e"]
    );
    assert_eq!(values("/v1/{a}", "/v1/%C3%A4").unwrap(), ["ä"]);
    assert_eq!(
        values("/v1/{a=**}", "/v1/x/y%2Fz/%7e").unwrap(),
        ["x/y%2Fz/~"]
    );
    assert_eq!(values("/v1/{a=**}", "/v1").unwrap(), [""]);
    assert_eq!(
        values("/v1/{a=trips/*}/{b}", "/v1/trips/7/8").unwrap(),
        ["trips/7", "8"]
    );
    for bad in ["/v1/%", "/v1/%1", "/v1/%zz", "/v1/%FF", "/v1/%C3"] {
        assert_eq!(values("/v1/{a}", bad), Err(PathError), "{bad}");
    }
}

#[test]
fn the_last_colon_begins_the_verb() {
    let cut = |path| {
        let Path { segments, verb } = Path::cut(path);
        (segments.join("|"), verb.map(str::to_owned))
    };
    assert_eq!(cut("/v1/a"), ("v1|a".to_owned(), None));
    assert_eq!(cut("/v1/a:b"), ("v1|a".to_owned(), Some("b".to_owned())));
    assert_eq!(
        cut("/v1/a:b:c"),
        ("v1|a:b".to_owned(), Some("c".to_owned()))
    );
    assert_eq!(cut("/v1:b/a"), ("v1:b|a".to_owned(), None));
    assert_eq!(cut("/v1/a%3Ab"), ("v1|a%3Ab".to_owned(), None));
    assert_eq!(cut("/"), (String::new(), None));
    assert_eq!(cut("*"), (String::new(), None));
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof!["[a-z0-9._~-]{1,6}".prop_map(Step::Literal), Just(Step::One),];
    (prop::collection::vec(step, 1..5), any::<bool>()).prop_map(|(mut steps, rest)| {
        if rest {
            steps.push(Step::Rest);
        }
        steps
    })
}

fn templates() -> impl Strategy<Value = Template> {
    let verb = prop::option::of("[a-z]{1,6}");
    (steps(), verb, any::<u64>()).prop_map(|(steps, verb, bits)| {
        // Every wildcard is a variable or not, by the bits.
        let variables = steps
            .iter()
            .enumerate()
            .filter(|(at, step)| !matches!(step, Step::Literal(_)) && bits >> at & 1 == 1)
            .map(|(at, _)| Variable {
                field: vec![format!("f{at}")],
                first: at,
                steps: 1,
            })
            .collect();
        Template {
            steps,
            variables,
            verb,
        }
    })
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

proptest! {
    #[test]
    fn a_template_survives_writing_and_reading(template in templates()) {
        prop_assert_eq!(Template::parse(&template.to_string()).unwrap(), template);
    }

    #[test]
    fn any_text_is_a_template_or_is_refused(text in "[/{}*:.=a_1]{0,24}") {
        if let Ok(template) = Template::parse(&text) {
            // `{a=*}` is written `{a}`; what is read back is the same all the same.
            prop_assert_eq!(Template::parse(&template.to_string()).unwrap(), template);
        }
    }

    #[test]
    fn any_value_comes_back_out_of_its_path(template in templates(), value in "\\PC{1,12}") {
        let parts: Vec<_> = template.steps.iter().map(|step| match step {
            Step::Literal(text) => text.clone(),
            Step::One | Step::Rest => escaped(&value),
        }).collect();
        let verb = template.verb.as_ref().map(|verb| format!(":{verb}")).unwrap_or_default();
        let path = format!("/{}{verb}", parts.join("/"));
        let values = template.values(&Path::cut(&path)).unwrap();
        for (variable, read) in template.variables.iter().zip(values) {
            match template.steps[variable.first] {
                Step::Rest => prop_assert_eq!(read, value.replace('/', "%2F")),
                _ => prop_assert_eq!(&read, &value),
            }
        }
    }

    #[test]
    fn no_path_is_too_odd_to_cut_and_decode(path in "\\PC{0,40}") {
        for segment in Path::cut(&path).segments {
            let _ = decode(segment, true);
            let _ = decode(segment, false);
        }
    }
}
