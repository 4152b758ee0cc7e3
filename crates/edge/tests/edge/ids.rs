//! What requests are called.

use crate::support::{App, Authority, Client, HOST, Plan, choice, table, target};

async fn ask(client: &mut Client, lines: &str) -> Option<String> {
    client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{lines}\r\n")).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 200);
    let ids: Vec<_> = answer.headers.iter().filter(|(name, _)| name == "x-request-id").collect();
    assert_eq!(ids.len(), 1, "{answer:?}");
    answer.header("x-request-id").map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn client_and_application_are_told_the_same_id_on_any_node() {
    let authority = Authority::new();
    let plan = |node| Plan { trusted: vec!["127.0.0.2".parse().unwrap()], ..Plan::node(node) };
    let (far, near) = (plan(1).start(&authority).await, plan(2).start(&authority).await);
    let app = App::start("app").await;
    far.serve(1, table(vec![choice(1, 2, 1)], vec![], &[&near])).await;
    near.serve(1, table(vec![choice(1, 2, 1)], vec![target(1, 1, &app)], &[&far])).await;
    let mut seen = Vec::new();
    for edge in [&far, &near] {
        let heard = || app.requests().pop().unwrap().all("x-request-id");
        let mut stranger = Client::connect(edge.http).await;
        for lines in ["", "X-Request-Id: mine\r\nX_Request_Id: mine\r\nConnection: X-Request-Id\r\n", ""] {
            let told = ask(&mut stranger, lines).await.unwrap();
            assert_eq!(heard(), std::slice::from_ref(&told));
            assert_eq!(app.requests().pop().unwrap().raw.matches("mine").count(), 0);
            assert!(told.len() == 36 && told.as_bytes()[14] == b'7', "{told}");
            assert!(!seen.contains(&told), "{told} again");
            seen.push(told);
        }
        let mut proxy = Client::connect_from("127.0.0.2", edge.http).await;
        let given = "X-Request-Id: {\"given\"}\r\nConnection: X-Request-Id\r\n";
        assert_eq!(ask(&mut proxy, given).await.as_deref(), Some("{\"given\"}"));
        assert_eq!(heard(), ["{\"given\"}"]);
        for bad in ["X-Request-Id: a b\r\n", "X-Request-Id: 1\r\nX-Request-Id: 2\r\n"] {
            let told = ask(&mut proxy, bad).await.unwrap();
            assert_eq!((told.len(), heard()), (36, vec![told]));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_may_call_it_something_else_and_errors_have_an_id_too() {
    let authority = Authority::new();
    let (far, near) = (Plan::node(1).start(&authority).await, Plan::node(2).start(&authority).await);
    let app = App::script("own", |mut conversation| async move {
        while let Some(head) = conversation.head().await {
            if head.path == "/reset" {
                return conversation.reset();
            }
            conversation.say("HTTP/1.1 200 OK\r\nX-Request-Id: own\r\nContent-Length: 0\r\n\r\n").await;
        }
    })
    .await;
    far.serve(1, table(vec![choice(1, 2, 1)], vec![], &[&near])).await;
    near.serve(1, table(vec![choice(1, 2, 1)], vec![target(1, 1, &app)], &[&far])).await;
    for edge in [&far, &near] {
        assert_eq!(ask(&mut Client::connect(edge.http).await, "").await.as_deref(), Some("own"));
        for (asked, status) in [
            (format!("POST /reset HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1\r\n\r\nx"), 502),
            (format!("GET /reset HTTP/1.1\r\nHost: {HOST}\r\n\r\n"), 502),
            ("GET / HTTP/1.1\r\nHost: other.test\r\n\r\n".to_owned(), 404),
            ("GET / HTTP/1.1\r\nHost: \r\n\r\n".to_owned(), 400),
        ] {
            let mut client = Client::connect(edge.http).await;
            client.send(&asked).await;
            let answer = client.answer().await;
            assert_eq!(answer.status, status, "{asked}");
            let id = answer.header("x-request-id").unwrap();
            assert!(answer.text().ends_with(&format!("\nrequest {id}\n")), "{}", answer.text());
            if status == 502 {
                assert_eq!(app.requests().pop().unwrap().all("x-request-id"), [id]);
            }
        }
    }
}
