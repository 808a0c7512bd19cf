//! The web pages as the gateway serves them, with or without them built in.

use crate::sandbox::Sandbox;

#[tokio::test]
async fn browsers_get_a_page_and_programs_the_routes() {
    let sandbox = Sandbox::in_process().await;
    let asked = |accept: &'static str| sandbox.bare("GET", "/").header("accept", accept).send();
    let routes = asked("*/*").await.unwrap();
    assert_eq!(routes.headers()["content-type"], "application/json");
    let vary: Vec<_> = routes.headers().get_all("vary").iter().collect();
    assert!(
        vary.iter().any(|value| *value == "accept"),
        "caches keep the two apart: {vary:?}"
    );
    let page = asked("text/html,application/xhtml+xml,*/*;q=0.8")
        .await
        .unwrap();
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
}

#[tokio::test]
async fn a_page_may_run_its_own_scripts_and_no_others() {
    let sandbox = Sandbox::in_process().await;
    for path in ["/rider", "/driver", "/city", "/share"] {
        let page = sandbox.bare("GET", path).send().await.unwrap();
        if !jitney_gateway::pages_are_built() {
            assert_eq!(page.status(), 404, "{path}");
            assert!(page.text().await.unwrap().contains("make web"));
            continue;
        }
        assert_eq!(page.status(), 200, "{path}");
        let headers = page.headers().clone();
        let rules = headers["content-security-policy"].to_str().unwrap();
        assert!(
            rules.starts_with("default-src 'none'; script-src 'self';"),
            "{rules}"
        );
        assert!(!rules.contains("unsafe"), "{rules}");
        assert_eq!(headers["cache-control"], "no-cache");
        let known = sandbox
            .bare("GET", path)
            .header("if-none-match", &headers["etag"]);
        assert_eq!(known.send().await.unwrap().status(), 304, "{path}");
        // What it is made of is there, and is kept for good.
        let text = page.text().await.unwrap();
        let mut files = 0;
        for file in text.split('"').filter(|word| word.starts_with("/assets/")) {
            let answer = sandbox.bare("GET", file).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{file}");
            assert_eq!(
                answer.headers()["cache-control"],
                "public, max-age=31536000, immutable"
            );
            files += 1;
        }
        assert!(files >= 2, "{text}");
        let slash = sandbox
            .bare("GET", &format!("{path}/"))
            .send()
            .await
            .unwrap();
        assert_eq!(slash.url().path(), path);
    }
    let missing = sandbox.bare("GET", "/assets/none.js").send().await.unwrap();
    assert_eq!(missing.status(), 404);
}
