//! Map tiles: for everybody, under the name that map libraries know, and not sent twice.

use jitney_platform::auth::Role;

use crate::sandbox::{Sandbox, read, refused};

#[tokio::test]
async fn a_tile_needs_no_token_and_is_kept_by_everybody() {
    for sandbox in [Sandbox::start().await, Sandbox::in_process().await] {
        for path in ["/tiles/14/8529/5974.mvt", "/v1/tiles/14/8529/5974"] {
            let answer = sandbox.bare("GET", path).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{path}");
            let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
            assert_eq!(header("content-type"), "application/vnd.mapbox-vector-tile");
            assert_eq!(header("cache-control"), "public, max-age=3600");
            let tag = header("etag");
            assert_eq!(answer.text().await.unwrap(), "14/8529/5974 for nobody");
            let again = sandbox.bare("GET", path).header("if-none-match", &tag);
            let again = again.send().await.unwrap();
            assert_eq!(again.status(), 304);
            assert_eq!(again.headers()["etag"].to_str().unwrap(), tag);
        }
        let empty = sandbox
            .bare("GET", "/tiles/3/1/0.mvt")
            .send()
            .await
            .unwrap();
        assert_eq!(
            (empty.status().as_u16(), empty.text().await.unwrap().len()),
            (200, 0)
        );
    }
}

#[tokio::test]
async fn a_token_that_is_shown_with_a_tile_must_be_good() {
    let sandbox = Sandbox::start().await;
    let token = sandbox.token(Role::Driver, "dan");
    let own = sandbox.bare("GET", "/tiles/3/1/2.mvt").bearer_auth(token);
    assert_eq!(
        own.send().await.unwrap().text().await.unwrap(),
        "3/1/2 for driver"
    );
    let odd = sandbox.bare("GET", "/tiles/3/1/2.mvt").bearer_auth("x");
    assert_eq!(refused(odd).await.1, "UNAUTHENTICATED");
    // What is no tile's name has no route, and nothing else is public.
    for path in ["/tiles/3/1/2", "/tiles/3/1/2.png", "/tiles/3/1.mvt"] {
        assert_eq!(read(sandbox.bare("GET", path)).await.0, 404, "{path}");
    }
    let (status, ..) = refused(sandbox.bare("GET", "/tiles/3/1/x.mvt")).await;
    assert_eq!(status, 400);
    let (status, ..) = refused(sandbox.bare("POST", "/tiles/3/1/2.mvt")).await;
    assert_eq!(status, 405);
    assert_eq!(refused(sandbox.bare("GET", "/v1/trips/t-1")).await.0, 401);
}
