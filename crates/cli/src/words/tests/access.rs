//! Tokens, people, and who changed what.

use clap::Parser;
use serde_json::Value;

use super::town::access::chain;
use super::{Line, User};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn a_token_is_for_everything_or_for_projects_and_may_expire() {
    let user = User::new().await;
    let seen = user.types("tokens create ci --role deployer --project shop --expires 90d").await;
    assert_eq!((seen.code, seen.out.as_str()), (0, "temps1.x.y\n"));
    assert_eq!(seen.err, "Token of ci (deployer in shop) for 90d; it is shown only now.\n");
    let asked = user.town().access.tokens[0].clone();
    assert_eq!((asked.role.as_str(), asked.projects["shop"].as_str()), ("", "deployer"));
    assert_eq!(asked.ttl_ms, 7_776_000_000);

    let seen = user.types("tokens create ops --role admin --json").await;
    let made = json(&seen.out);
    assert_eq!((&made["role"], &made["token"]), (&"admin".into(), &"temps1.x.y".into()));
    let listed = user.types("tokens ls").await.out;
    assert_eq!(
        listed,
        "\
NAME  ID  ALLOWS            CREATED              EXPIRES
ci    t1  deployer in shop  1970-01-01 14:31:00  90d
ops   t2  admin             1970-01-01 14:31:00  never
"
    );
    let listed = json(&user.types("tokens list --json").await.out);
    assert_eq!(listed["tokens"][0]["projects"]["shop"], "deployer");
    assert_eq!((&listed["tokens"][0]["role"], &listed["tokens"][1]["role"]), (&Value::Null, &"admin".into()));

    let seen = user.types("tokens revoke ci").await;
    assert_eq!((seen.code, seen.out.as_str()), (0, "The token ci is refused everywhere from now on.\n"));
    assert_eq!(user.town().access.revoked, ["ci"]);
    for line in ["tokens create ci", "tokens create ci --role viewer --expires 0s", "tokens create x -p shop"]
    {
        let seen = user.types(line).await;
        assert_eq!(seen.code, 2, "{line}: {seen:?}");
    }
}

#[tokio::test]
async fn a_person_is_added_changed_and_removed() {
    let user = User::new().await;
    let seen = user.types("people add anna@example.com --project shop=admin -p blog=viewer").await;
    assert_eq!((seen.code, seen.out.as_str()), (0, "tempscode1.x.y\n"), "{seen:?}");
    assert_eq!(
        seen.err,
        "anna@example.com (viewer in blog, admin in shop) sets a password with this code within 24h; it works once and is shown only now.\n"
    );
    let listed = user.types("people list").await.out;
    assert!(listed.contains("sets a password within 24h"), "{listed}");
    assert!(!listed.contains("tempscode1"), "{listed}");
    let listed = json(&user.types("people list --json").await.out);
    assert_eq!(listed["people"][0]["projects"]["blog"], "viewer");

    let seen = user.types("people set anna@example.com --disable").await;
    assert_eq!((seen.code, seen.out.as_str()), (0, "anna@example.com is changed.\n"));
    user.types("people set anna@example.com --enable --role viewer").await;
    let seen = user.types("people set anna@example.com --reset-password --ttl 2h --json").await;
    assert_eq!(json(&seen.out)["code_expires_in_ms"], 7_200_000);
    let set = user.town().access.set.clone();
    assert_eq!((set[0].disabled, set[1].disabled, set[2].disabled), (Some(true), Some(false), None));
    assert_eq!((set[0].grant.is_none(), set[1].grant.as_ref().unwrap().role.as_str()), (true, "viewer"));
    assert_eq!((set[0].reset, set[2].reset, set[2].ttl_ms), (false, true, 7_200_000));

    let seen = user.types("people set anna@example.com").await;
    assert!(seen.code == 2 && seen.err.contains("nothing to change"), "{seen:?}");
    let both = ["temps", "people", "set", "anna", "--disable", "--enable"];
    assert!(Line::try_parse_from(both).is_err());
    assert_eq!(user.types("people rm anna@example.com").await.code, 0);
    assert!(user.types("people list").await.err.contains("nobody yet"));

    let seen = user.types("cluster setup-code --ttl 30m").await;
    assert_eq!((seen.code, seen.out.as_str()), (0, "tempscode1.x.y\n"));
    assert!(seen.err.contains("becomes an admin within 30m; it works once"), "{}", seen.err);
}

#[tokio::test]
async fn who_changed_what_is_shown_and_verified() {
    let user = User::new().await;
    assert_eq!(user.types("audit").await.err, "nothing\n");
    user.town().access.audit = chain();
    let seen = user.types("audit --project my-app --by ci --limit 10").await;
    assert_eq!(
        seen.out,
        "\
TIME                 BY        FROM       WHAT    ABOUT                   OUTCOME
1970-01-01 14:31:01  token ci  192.0.2.7  deploy  my-app (production) #1  done
1970-01-01 14:31:02  token ci  192.0.2.7  deploy  my-app (production) #2  refused: there is no place
"
    );
    let asked = user.town().access.audited.last().cloned().unwrap();
    assert_eq!((asked.project.as_str(), asked.by.as_str(), asked.limit), ("my-app", "ci", 10));
    assert_eq!((asked.since_ms, asked.after), (0, None));
    assert!(user.types("audit --since 1h --json").await.out.contains("\"entries\""));
    assert!(user.town().access.audited.last().unwrap().since_ms > 1_700_000_000_000);

    let seen = user.types("audit --verify").await;
    let last = chain()[2].hash.clone();
    assert_eq!(
        (seen.code, seen.out),
        (0, format!("3 entries since 1970-01-01 14:31:01 are as they were written.\nlast hash  {last}\n"))
    );
    let told = json(&user.types("audit --verify --json").await.out);
    assert_eq!(
        (&told["verified"], &told["entries"], &told["last_hash"]),
        (&true.into(), &3.into(), &last.into())
    );

    for bad in 0..3 {
        let mut entries = chain();
        entries[bad].object.push('x');
        user.town().access.audit = entries;
        let seen = user.types("audit --verify").await;
        assert_eq!(seen.code, 1, "{seen:?}");
        assert!(seen.out.contains(&format!("The entry at log index {}", bad + 1)), "{seen:?}");
    }
    user.town().access.audit.remove(1);
    assert_eq!(json(&user.types("audit --verify --json").await.out)["verified"], false);
}
