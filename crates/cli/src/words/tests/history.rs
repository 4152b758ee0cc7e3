//! What clients got over time.

use temps_wire::proto::{
    GetHistoryResponse, HistoryInFlight, HistoryMarker, HistoryMissing, HistoryOfNode, HistoryPoint,
    HistoryTraffic, ReleaseMetrics,
};

use super::User;

fn history() -> GetHistoryResponse {
    let traffic = HistoryTraffic { requests: 120, shed: 2, platform_caused: 2, ..HistoryTraffic::default() };
    let release = ReleaseMetrics { release: 7, requests: 118, p50_ms: Some(3), ..ReleaseMetrics::default() };
    GetHistoryResponse {
        from_ms: 52_200_000,
        to_ms: 52_260_000,
        step_ms: 60_000,
        points: vec![HistoryPoint {
            at_ms: 52_200_000,
            seconds: 60,
            traffic: Some(traffic),
            nodes: vec![HistoryOfNode { node: "n1".to_owned(), traffic: Some(traffic) }],
            releases: vec![release],
            in_flight: vec![
                HistoryInFlight { release: 6, most: 12 },
                HistoryInFlight { release: 7, most: 4 },
            ],
        }],
        total: Some(traffic),
        releases: vec![release],
        markers: vec![HistoryMarker {
            at_ms: 52_230_000,
            deployment: 42,
            kind: "share".to_owned(),
            text: "5% of requests go to new containers for 2m".to_owned(),
        }],
        missing: vec![HistoryMissing { node: "n3".to_owned(), why: "it is lost".to_owned() }],
    }
}

#[tokio::test]
async fn a_table_with_what_deployments_did_in_between() {
    let user = User::new().await;
    user.town().history = history();
    let seen = user.types("metrics -p my-app -e staging --since 2h").await;
    assert_eq!(seen.code, 0, "{seen:?}");
    let lines: Vec<&str> = seen.out.lines().collect();
    assert_eq!(lines[0], "my-app (staging), 1m in steps of 1m");
    let row: Vec<&str> = lines[4].split_whitespace().collect();
    assert_eq!(row, ["14:30:00", "120", "2.0", "2", "r6", "0", "0", "12"]);
    let row: Vec<&str> = lines[5].split_whitespace().collect();
    assert_eq!(row, ["r7", "118", "0", "4", "3ms"]);
    assert_eq!(lines[6], "14:30:30  #42 5% of requests go to new containers for 2m");
    assert_eq!(seen.err, "warning: what n3 counted is missing: it is lost\n");
    let asked = user.town().asked_history[0].clone();
    assert_eq!((asked.project.as_str(), asked.environment.as_str()), ("my-app", "staging"));
    assert_eq!((asked.since_ms, asked.step_ms), (7_200_000, 300_000));
}

#[tokio::test]
async fn a_program_gets_every_number_and_what_is_missing() {
    let user = User::new().await;
    user.town().history = history();
    let seen = user.types("metrics -p my-app --step 1m --json").await;
    let json: serde_json::Value = serde_json::from_str(&seen.out).unwrap();
    assert_eq!((&json["project"], &json["step_ms"]), (&"my-app".into(), &60_000.into()));
    let point = &json["points"][0];
    assert_eq!((&point["requests"], &point["failed"], &point["shed"]), (&120.into(), &2.into(), &2.into()));
    assert_eq!((&point["time"], &point["seconds"]), (&"1970-01-01T14:30:00Z".into(), &60.into()));
    assert_eq!((&point["nodes"][0]["node"], &point["nodes"][0]["requests"]), (&"n1".into(), &120.into()));
    assert_eq!((&point["releases"][0]["release"], &point["releases"][0]["p50_ms"]), (&7.into(), &3.into()));
    let in_flight = serde_json::json!([{ "release": 6, "most": 12 }, { "release": 7, "most": 4 }]);
    assert_eq!(point["in_flight"], in_flight);
    assert_eq!(
        (&json["total"]["platform_caused"], &json["releases"][0]["requests"]),
        (&2.into(), &118.into())
    );
    assert_eq!(
        (&json["markers"][0]["deployment"], &json["markers"][0]["kind"]),
        (&42.into(), &"share".into())
    );
    assert_eq!(json["missing"], serde_json::json!([{ "node": "n3", "why": "it is lost" }]));
    assert_eq!(user.town().asked_history[0].step_ms, 60_000);
}

#[tokio::test]
async fn what_is_not_known_of_clients_is_no_zero() {
    let user = User::new().await;
    let mut history = history();
    history.points[0].traffic = None;
    user.town().history = history;
    let seen = user.types("metrics -p my-app --json").await;
    let json: serde_json::Value = serde_json::from_str(&seen.out).unwrap();
    let point = &json["points"][0];
    assert!(point["requests"].is_null() && point["failed"].is_null(), "{seen:?}");
    assert_eq!(
        (&point["time"], &point["in_flight"][0]["most"]),
        (&"1970-01-01T14:30:00Z".into(), &12.into())
    );
}

#[tokio::test]
async fn what_cannot_be_asked_says_how_it_can() {
    let user = User::new().await;
    let seen = user.types("metrics -p my-app --step 500ms").await;
    assert_eq!((seen.code, seen.err.contains("whole seconds")), (2, true), "{seen:?}");
    assert!(seen.err.contains("1s, 10s or 5m"), "{seen:?}");
    assert_eq!(user.types("metrics -p my-app --since 0s").await.code, 2);
    assert_eq!(user.types("metrics").await.code, 2, "of which project?");
    user.town().history =
        GetHistoryResponse { step_ms: 300_000, to_ms: 300_000, ..GetHistoryResponse::default() };
    let seen = user.types("metrics -p my-app --since 30h --step 10m").await;
    assert!(seen.out.contains("nothing is known of 5m"), "{seen:?}");
    let seen = user.types("metrics -p my-app --step 1m").await;
    assert_eq!(seen.err, "Nothing finer than 5m is kept of all of that time.\n");
}
