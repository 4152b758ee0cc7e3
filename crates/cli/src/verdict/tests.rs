use temps_wire::proto::{Deployment, DeploymentDetail, Event, Instance};

use super::text_of;

fn deployment(phase: &str) -> Deployment {
    Deployment {
        number: 42,
        project: "my-app".to_owned(),
        environment: "production".to_owned(),
        kind: "deploy".to_owned(),
        release: 7,
        from_release: Some(6),
        phase: phase.to_owned(),
        ended: true,
        duration_ms: 31_000,
        ..Deployment::default()
    }
}

fn instance(id: &str, release: u64, state: &str) -> Instance {
    Instance {
        id: id.to_owned(),
        process: "web".to_owned(),
        node: "n2".to_owned(),
        release,
        state: state.to_owned(),
        ..Instance::default()
    }
}

#[test]
fn success_is_one_sentence_with_what_it_cost() {
    let quiet = DeploymentDetail { deployment: Some(deployment("succeeded")), ..DeploymentDetail::default() };
    assert_eq!(text_of(&quiet), "Deployment #42 of my-app (production) succeeded: r7 is live after 31s.");
    let busy = Deployment {
        kind: "rollback".to_owned(),
        requests: Some(1_204),
        platform_errors: Some(0),
        app_errors: Some(3),
        ..deployment("succeeded")
    };
    let busy = DeploymentDetail { deployment: Some(busy), ..DeploymentDetail::default() };
    assert_eq!(
        text_of(&busy),
        "Rollback #42 of my-app (production) succeeded: r7 is live after 31s. 1204 requests meanwhile, 0 failed, 3 answered 5xx by the application."
    );
}

#[test]
fn a_failure_shows_what_a_person_needs_to_find_out_why() {
    let failed = Deployment {
        reason: "i7 on n2 ended before it was healthy (exit code 1)".to_owned(),
        log_tail: vec!["starting".to_owned(), "\x1b[31mno DATABASE_URL\x1b[0m".to_owned()],
        requests: Some(10),
        ..deployment("rolled_back")
    };
    let crashed = Instance {
        exit: "exit code 1".to_owned(),
        last_check: "connection refused".to_owned(),
        ..instance("i7", 7, "exited")
    };
    let detail = DeploymentDetail {
        deployment: Some(failed),
        instances: vec![instance("i3", 6, "serving"), instance("i4", 6, "serving"), crashed],
        events: Vec::new(),
    };
    assert_eq!(
        text_of(&detail),
        "\
Deployment #42 of my-app (production) failed and was rolled back to r6.

  Why       i7 on n2 ended before it was healthy (exit code 1)
  Instance  i7 (web, r7) on n2
  Exit      exit code 1
  Check     connection refused
  Now       r6 serves on i3, i4; what was started of r7 is gone
  Traffic   10 requests meanwhile, 0 failed.
  Log       the last 2 lines of the instance at fault:
    | starting
    | \\x1b[31mno DATABASE_URL\\x1b[0m

  Next      temps deployments timeline 42
            temps logs -p my-app -e production"
    );
}

#[test]
fn a_failed_release_command_says_that_no_instance_was_replaced() {
    let failed = Deployment {
        reason: "the release command on n2 failed: exit code 1".to_owned(),
        log_tail: vec!["no such table".to_owned()],
        ..deployment("rolled_back")
    };
    let ran = Instance {
        process: "release".to_owned(),
        exit: "exit code 1".to_owned(),
        ..instance("i7", 7, "exited")
    };
    let event = |kind: &str| Event { kind: kind.to_owned(), ..Event::default() };
    let detail = DeploymentDetail {
        deployment: Some(failed),
        instances: vec![instance("i3", 6, "serving"), ran],
        events: ["building", "built", "release_started", "reverting", "ended"].map(event).into(),
    };
    assert_eq!(
        text_of(&detail),
        "\
Deployment #42 of my-app (production) failed in its release command; r6 is live as before.

  Why       the release command on n2 failed: exit code 1
  Instance  i7 (release, r7) on n2
  Exit      exit code 1
  Now       r6 serves on i3 as before; no instance was replaced
  Log       the last line of the release command:
    | no such table

  Next      temps logs -p my-app -e production --process release
            temps deployments timeline 42"
    );
}

#[test]
fn only_the_last_twenty_lines_are_shown() {
    let log_tail = (1..=50).map(|n| format!("line {n}")).collect();
    let deployment = Deployment { log_tail, ..deployment("failed") };
    let text = text_of(&DeploymentDetail { deployment: Some(deployment), ..DeploymentDetail::default() });
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("    | ")).collect();
    assert_eq!((lines.len(), lines[0], lines[19]), (20, "    | line 31", "    | line 50"));
}

#[test]
fn the_headline_says_where_things_stand() {
    let headline = |deployment| {
        let detail = DeploymentDetail { deployment: Some(deployment), ..DeploymentDetail::default() };
        text_of(&detail).lines().next().unwrap().to_owned()
    };
    let first = |phase| Deployment { from_release: None, ..deployment(phase) };
    for (deployment, expected) in [
        (deployment("failed"), "Deployment #42 of my-app (production) failed and could not be rolled back."),
        (
            first("failed"),
            "Deployment #42 of my-app (production) failed; there was no release to go back to.",
        ),
        (deployment("cancelled"), "Deployment #42 of my-app (production) was cancelled and went back to r6."),
        (first("cancelled"), "Deployment #42 of my-app (production) was cancelled."),
        (
            deployment("superseded"),
            "Deployment #42 of my-app (production) was superseded by a newer deployment before it began.",
        ),
        (deployment("stepping"), "Deployment #42 of my-app (production) is stepping."),
    ] {
        assert_eq!(headline(deployment), expected);
    }
}

#[test]
fn the_instance_at_fault_is_found_in_the_events_where_the_reason_names_none() {
    let event = |kind: &str, instance: &str| Event {
        kind: kind.to_owned(),
        instance: instance.to_owned(),
        ..Event::default()
    };
    let failed = Deployment {
        reason: "crash loop: 3 exits after being healthy".to_owned(),
        ..deployment("rolled_back")
    };
    let detail = DeploymentDetail {
        deployment: Some(failed),
        instances: vec![instance("i8", 7, "gone"), instance("i9", 7, "gone")],
        events: vec![event("crashed", "i8"), event("starting", "i9"), event("removed", "i9")],
    };
    assert!(text_of(&detail).contains("Instance  i8 (web, r7) on n2"), "{}", text_of(&detail));
}

#[test]
fn what_failed_last_of_all_leaves_the_new_release() {
    let failed = Deployment {
        reason: "the release command on n2 failed: exit code 3".to_owned(),
        log_tail: vec!["column is in use".to_owned()],
        ..deployment("failed")
    };
    let event = |kind: &str| Event { kind: kind.to_owned(), ..Event::default() };
    let detail = DeploymentDetail {
        deployment: Some(failed),
        instances: vec![instance("i7", 7, "serving")],
        events: ["watching", "release_started", "failed", "ended"].map(event).into(),
    };
    let text = text_of(&detail);
    assert!(
        text.starts_with(
            "Deployment #42 of my-app (production) failed in its last step; its release r7 stays."
        ),
        "{text}"
    );
    assert!(
        text.contains("  Now       r7 serves on i7; what its release command was to take away"),
        "{text}"
    );
    assert!(text.contains("temps logs -p my-app -e production --process release"), "{text}");
}
