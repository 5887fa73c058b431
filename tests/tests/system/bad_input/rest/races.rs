//! Several who want different things of one name.
use futures::future::join_all;

use super::*;

/// Goal: whoever creates and deletes one name at once gets true answers, and the name works afterwards.
async fn race(scene: &Scene, create: Asked, delete: Asked, made: u16) {
    for round in 0..20 {
        let all =
            (0..8).map(|number| if number % 2 == 0 { create.status(&scene.http) } else { delete.status(&scene.http) });
        for (number, status) in join_all(all).await.into_iter().enumerate() {
            let expected: &[u16] = if number % 2 == 0 { &[204, 409] } else { &[204, 404, 409, 412] };
            assert!(expected.contains(&status), "{create:?} or {delete:?}, round {round}, number {number}: {status}");
        }
    }
    delete.status(&scene.http).await;
    assert_eq!(delete.status(&scene.http).await, 404, "{delete:?}");
    assert_eq!(create.status(&scene.http).await, made, "{create:?}");
    assert_eq!(create.status(&scene.http).await, 409, "{create:?}");
    assert_eq!(delete.status(&scene.http).await, 204, "{delete:?}");
}

fn asked(method: &str, path: &str, body: &str) -> Asked {
    Asked::new(method, &format!("/admin/v2{path}")).with(body)
}

#[tokio::test]
async fn one_name_created_and_deleted_at_once_ends_as_one_of_both() {
    let mut scene = Scene::set().await;
    let tenant = r#"{"allowedClusters":["standalone"]}"#;
    race(&scene, asked("PUT", "/tenants/raced", tenant), asked("DELETE", "/tenants/raced", ""), 204).await;
    race(&scene, asked("PUT", "/namespaces/public/raced", ""), asked("DELETE", "/namespaces/public/raced", ""), 204)
        .await;
    let topic = "/persistent/public/default/raced";
    race(&scene, asked("PUT", topic, ""), asked("DELETE", topic, ""), 204).await;
    let partitions = format!("{topic}/partitions");
    race(&scene, asked("PUT", &partitions, "3"), asked("DELETE", &partitions, ""), 204).await;
    scene.nobody_is_disturbed("after races").await;
    scene.end().await;
}

#[tokio::test]
async fn a_namespace_with_topics_is_not_deleted_under_them() {
    let mut scene = Scene::set().await;
    let rows = [
        row("PUT", "/namespaces/public/used", "", &[204]),
        row("PUT", "/persistent/public/used/t", "", &[204]),
        row("DELETE", "/namespaces/public/used", "", &[409]),
        row("GET", "/persistent/public/used", "", &[200]),
        row("DELETE", "/persistent/public/used/t", "", &[204]),
        row("DELETE", "/namespaces/public/used", "", &[204]),
        row("DELETE", "/namespaces/public/used", "", &[404]),
    ];
    play(&mut scene, rows).await;
    scene.end().await;
}
