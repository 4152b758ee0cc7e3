//! Which node answers, where more than one can.

use tokio::task::JoinSet;

use crate::support::{App, Authority, Client, HOST, Plan, choice, get, table, target, until, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_stays_on_its_node_until_that_is_busier_than_the_other() {
    let authority = Authority::new();
    let (near, far) = (Plan::node(1).start(&authority).await, Plan::node(2).start(&authority).await);
    let (here, there) = (App::start("here").await, App::start("there").await);
    let choices = || vec![choice(1, 1, 1), choice(1, 2, 1)];
    near.serve(1, table(choices(), vec![target(1, 1, &here)], &[&far])).await;
    far.serve(1, table(choices(), vec![target(2, 1, &there)], &[&near])).await;
    let mut client = Client::connect(near.http).await;
    for _ in 0..40 {
        assert_eq!(client.get(HOST, "/").await.text(), "here");
    }
    assert_eq!(get(far.http, HOST, "/").await.text(), "there");
    let mut asking = JoinSet::new();
    for _ in 0..20 {
        let (at, before) = (near.http, here.count() + there.count());
        asking.spawn(async move { get(at, HOST, "/slow?1000").await.text() });
        until("it has arrived", || here.count() + there.count() > before).await;
    }
    let answers = within("all answers", asking.join_all()).await;
    let stayed = answers.iter().filter(|answer| *answer == "here").count();
    assert!((8..=14).contains(&stayed), "{stayed} of 20 stayed");
}
