use temps_core::model::{Https, Opaque, Spec};

use super::{BuildRules, EXAMPLE, FileError, ProjectFile, Shown, load, location, parse, problem};

mod containers;

const WEB: &str = "[processes.web]\ncommand = \"./server\"\n";

fn good(text: &str, environment: &str) -> ProjectFile {
    parse(text, environment)
        .unwrap_or_else(|problems| panic!("{}", problem::render("temps.toml", text, &problems)))
}

fn bad(text: &str) -> String {
    let problems = parse(text, "production").expect_err(text);
    problem::render("temps.toml", text, &problems)
}

#[test]
fn everything_has_the_default_of_the_article() {
    let file = good(WEB, "production");
    let web = &file.spec.processes["web"];
    assert_eq!((web.command.as_str(), web.http, web.instances), ("./server", true, 1));
    let expected = Spec { processes: file.spec.processes.clone(), ..Spec::default() };
    assert_eq!(file, ProjectFile { project: None, build: BuildRules::default(), spec: expected });
    assert_eq!(good(EXAMPLE, "production").project.as_deref(), Some("my-app"));
}

#[test]
fn everything_can_be_set() {
    let text = r#"
[project]
name = "my-app"
[processes.web]
command = "./server --port $PORT"
port = 3000
instances = 3
[processes.worker]
command = "./worker"
[health]
path = "/up?deep=1"
interval = "500ms"
timeout = "1s"
healthy_threshold = 1
unhealthy_threshold = 5
start_period = "0s"
expect = "204"
host = "Example.com"
[deploy]
strategy = "rolling"
max_surge = 2
max_unavailable = 1
drain_timeout = "1m30s"
stop_grace = "5s"
deadline = "2m"
[rollback]
watch = "0s"
crash_limit = 1
keep = 9
[routes]
domains = ["App.Example.com.", "bücher.example"]
path_prefix = "/api/"
https = "optional"
hsts = 2592000
[env]
LOG_LEVEL = "in\"fo $HOME\n"
[environments.staging.processes.web]
instances = 1
[environments.staging.routes]
domains = ["staging.example.com"]
[environments.staging.env]
LOG_LEVEL = "debug"
EXTRA = ""
"#;
    let file = good(text, "production");
    let spec = &file.spec;
    assert_eq!(file.project.as_deref(), Some("my-app"));
    assert_eq!((spec.processes["web"].http, spec.processes["web"].instances), (true, 3));
    assert_eq!((spec.processes["worker"].http, spec.processes["worker"].instances), (false, 1));
    assert_eq!(spec.health.path, "/up?deep=1");
    assert_eq!((spec.health.interval, spec.health.timeout, spec.health.start_period), (500, 1_000, 0));
    assert_eq!((spec.health.healthy_threshold, spec.health.unhealthy_threshold), (1, 5));
    assert_eq!((spec.health.expect, spec.health.host.as_deref()), (204, Some("example.com")));
    assert_eq!((spec.deploy.max_surge, spec.deploy.max_unavailable), (2, 1));
    assert_eq!(
        (spec.deploy.drain_timeout, spec.deploy.stop_grace, spec.deploy.deadline),
        (90_000, 5_000, 120_000)
    );
    assert_eq!((spec.rollback.watch, spec.rollback.crash_limit, spec.rollback.keep), (0, 1, 9));
    assert_eq!(spec.routes.domains, ["app.example.com", "xn--bcher-kva.example"]);
    assert_eq!(spec.routes.path_prefix, "/api");
    assert_eq!((spec.routes.https, spec.routes.hsts), (Https::Optional, Some(2_592_000)));
    assert_eq!(spec.variables["LOG_LEVEL"], Opaque("in\"fo $HOME\n".to_owned()));

    let staging = good(text, "staging").spec;
    assert_eq!((staging.processes["web"].instances, staging.processes["worker"].instances), (1, 1));
    assert_eq!(
        (staging.routes.domains, staging.routes.path_prefix),
        (vec!["staging.example.com".to_owned()], "/api".to_owned())
    );
    assert_eq!(staging.variables["LOG_LEVEL"].0, "debug");
    assert_eq!(staging.variables["EXTRA"].0, "");
}

#[test]
fn what_is_shown_is_the_same_file_again_without_secrets() {
    let text = format!(
        "{WEB}[env]\nKEY = \"canary-7f3a\"\n[health]\ninterval = \"1s500ms\"\n[routes]\ndomains = [\"a.test\"]\nhsts = 3600\n"
    );
    let mut file = good(&text, "production");
    let shown = toml::to_string(&Shown::of("my-app", &file)).unwrap();
    assert!(!shown.contains("canary"), "{shown}");
    let again = good(&shown, "production");
    file.project = Some("my-app".to_owned());
    file.spec.variables.insert("KEY".to_owned(), Opaque("***".to_owned()));
    assert_eq!(again, file);
}

/// One problem in a section that is appended to a file that is otherwise good.
fn check(section: &str, expected: &str) {
    let text = format!("{WEB}{section}");
    assert_eq!(bad(&text), expected, "\n--- of ---\n{text}");
}

#[test]
fn unknown_keys_are_shown_with_what_was_probably_meant() {
    assert_eq!(
        bad("[project]\nname = \"a\"\n\n[processes.web]\ncomand = \"./server\"\n"),
        "temps.toml:5:1: unknown key `comand` in [processes.web]\n  |\n5 | comand = \"./server\"\n  | ^^^^^^\n  = did you mean `command`?"
    );
    check(
        "[helth]\npath = \"/up\"\n",
        "temps.toml:3:2: unknown key `helth` at the top of the file\n  |\n3 | [helth]\n  |  ^^^^^\n  = did you mean `health`?",
    );
    check(
        "[deploy]\ninstances = 3\n",
        "temps.toml:4:1: unknown key `instances` in [deploy]\n  |\n4 | instances = 3\n  | ^^^^^^^^^\n  = `instances` belongs in [processes.NAME]",
    );
    check(
        "protocol = \"http3\"\n",
        "temps.toml:3:12: there is no protocol \"http3\"\n  |\n3 | protocol = \"http3\"\n  |            ^^^^^^^\n  = write \"http1\", the default, or \"h2c\", such as for gRPC",
    );
    check(
        "[routes]\nhttps = \"always\"\n",
        "temps.toml:4:9: https is \"redirect\" or \"optional\", not \"always\"\n  |\n4 | https = \"always\"\n  |         ^^^^^^^^",
    );
    check(
        "[routes]\nhsts = 94608001\n",
        "temps.toml:4:8: hsts is a number of seconds up to 94608000, which is three years\n  |\n4 | hsts = 94608001\n  |        ^^^^^^^^",
    );
    check(
        "[routes]\nzone = \"x\"\n",
        "temps.toml:4:1: unknown key `zone` in [routes]\n  |\n4 | zone = \"x\"\n  | ^^^^\n  = known keys: domains, path_prefix, https, hsts",
    );
    check(
        "[environments.staging.processes.web]\ninstance = 1\n",
        "temps.toml:4:1: unknown key `instance` in [environments.staging.processes.web]\n  |\n4 | instance = 1\n  | ^^^^^^^^\n  = did you mean `instances`?",
    );
}

#[test]
fn when_a_deployment_is_taken_back() {
    let text = format!(
        "{WEB}[rollback]\nerror_rate_factor = 5\nerror_rate_floor = \"0.5%\"\nlatency_floor = \"300ms\"\nmin_requests = 100\nwarm = true\n[schema]\nprovides = 12\nrequires = \"11..12\"\n"
    );
    let spec = parse(&text, "production").unwrap().spec;
    let rules = &spec.rollback;
    assert_eq!((rules.error_rate_factor, rules.error_rate_floor, rules.latency_floor), (5, 5_000, 300));
    assert_eq!((rules.min_requests, rules.warm), (100, true));
    assert_eq!(spec.schema, Some(temps_core::model::Schema { provides: 12, from: 11, to: 12 }));
    for (section, expected) in [
        (
            "[rollback]\nerror_rate_floor = \"5\"",
            "4:20: \"5\" is not a percentage; write for example \"5%\", or \"0.5%\"",
        ),
        ("[rollback]\nerror_rate_floor = \"101%\"", "4:20: \"101%\" is more than 100%"),
        ("[rollback]\nerror_rate_factor = 1", "4:21: error_rate_factor must be at least 2"),
        ("[schema]\nrequires = \"1\"", "3:1: [schema] needs `provides`"),
        ("[schema]\nprovides = 2\nrequires = \"3..2\"", "5:12: \"3..2\" is not a range of versions"),
        (
            "[schema]\nprovides = 2\nrequires = \"3..4\"",
            "5:12: the release would not run with the schema 2 that it provides itself",
        ),
    ] {
        message(section, expected);
    }
}

/// The message alone, for problems whose place is shown as everywhere.
fn message(section: &str, expected: &str) {
    let text = format!("{WEB}{section}");
    let shown = bad(&text);
    let first = shown.lines().next().unwrap();
    assert_eq!(first, format!("temps.toml:{expected}"), "\n--- of ---\n{text}");
}

#[test]
fn values_that_cannot_work_say_why() {
    message("port = 0\n", "3:8: port must be from 1 to 65535");
    message("instances = 0\n", "3:13: instances must be from 1 to 1000");
    message("instances = -1\n", "3:13: invalid value: integer `-1`, expected a whole number");
    message("instances = \"3\"\n", "3:13: invalid type: string \"3\", expected a whole number");
    message("http = \"yes\"\n", "3:8: invalid type: string \"yes\", expected true or false");
    message("command = \"x\"\n", "3:1: duplicate key");
    message(
        "[processes.api]\ncommand = \"x\"\nhttp = true\n",
        "1:12: both `api` and `web` answer HTTP, and requests can only go to one process",
    );
    message(
        "[processes.Api]\ncommand = \"x\"\n",
        "3:12: the process name \"Api\" must be lower-case letters, digits and inner dashes, for example \"api\"",
    );
    message("[processes.api]\ncommand = \" \"\n", "4:11: the command is empty");
    message(
        "[project]\nname = \"My App\"\n",
        "4:8: the project name \"My App\" must be lower-case letters, digits and inner dashes, for example \"my-app\"",
    );
    message("[health]\npath = \"up\"\n", "4:8: path must start with `/`");
    message(
        "[health]\npath = \"/a b\"\n",
        "4:8: path must be printable ASCII without spaces; write other characters as %XX",
    );
    message("[health]\ninterval = \"0s\"\n", "4:12: interval must be longer than 0");
    message(
        "[health]\ninterval = 5\n",
        "4:12: the duration \"5\" needs a unit; write for example \"5s\" (units: ms, s, m, h)",
    );
    message("[health]\ntimeout = \"2m\"\n", "4:11: timeout must be at most 1m");
    message("[health]\nhealthy_threshold = 0\n", "4:21: healthy_threshold must be at least 1");
    message("[health]\nunhealthy_threshold = 0\n", "4:23: unhealthy_threshold must be at least 1");
    message("[health]\nexpect = \"2xx\"\n", "4:10: \"2xx\" is not an HTTP status from 100 to 599");
    message("[health]\nexpect = 600\n", "4:10: \"600\" is not an HTTP status from 100 to 599");
    message("[health]\nhost = \"a b\"\n", "4:8: \"a b\": it is not a host name");
    message("[deploy]\nstrategy = \"big-bang\"\n", "4:12: there is no strategy \"big-bang\"");
    message("[deploy.canary]\nsteps = []\n", "3:1: [deploy.canary] is for the strategy \"canary\"");
    let canary = |rest: &str, expected: &str| {
        message(&format!("[deploy]\nstrategy = \"canary\"\n[deploy.canary]\n{rest}\n"), expected);
    };
    canary("steps = []", "6:9: a canary has 1 to 20 steps");
    canary("steps = [{ hold = \"1m\" }]", "6:10: a step needs a weight, the share of requests in percent");
    canary(
        "steps = [{ weight = 100 }]",
        "6:21: weight must be from 1 to 99 percent; all requests follow after the last step",
    );
    canary(
        "steps = [{ weight = 9 }, { weight = 9 }]",
        "6:37: weight must grow from step to step, and the one before is 9",
    );
    canary("sticky = \"a b\"", "6:10: sticky is the name of a cookie, at most 64 characters");
    message(
        "[deploy]\nmax_surge = 0\n",
        "4:13: max_surge and max_unavailable cannot both be 0: no instance could ever be replaced",
    );
    message("[deploy]\nmax_surge = 4294967295\n", "4:13: max_surge must be at most 1000");
    message(
        "[deploy]\ndeadline = \"30s\"\n",
        "4:12: no release could become healthy in time: deadline is 30s, but start_period (30s) and 2 checks every 5s take 40s",
    );
    message(
        "[health]\nstart_period = \"10m\"\n",
        "4:16: no release could become healthy in time: deadline is 10m, but start_period (10m) and 2 checks every 5s take 10m10s",
    );
    message("[rollback]\ncrash_limit = 0\n", "4:15: crash_limit must be at least 1");
    message("[rollback]\nkeep = 0\n", "4:8: keep must be at least 1");
    message("[routes]\ndomains = [\"a.test\", \"A.test.\"]\n", "4:22: the domain \"a.test\" is listed twice");
    message("[routes]\ndomains = [\"*.a.test\"]\n", "4:12: \"*.a.test\": it is not a host name");
    message("[routes]\npath_prefix = \"api\"\n", "4:15: path_prefix must start with `/`");
    message("[routes]\npath_prefix = \"/a?b\"\n", "4:15: path_prefix is a path alone, without `?` and `#`");
    message(
        "[env]\n9A = \"x\"\n",
        "4:1: the variable name \"9A\" must be letters, digits and `_`, and not start with a digit",
    );
    message(
        "[env]\nA = \"x\\u0000\"\n",
        "4:5: the value of A contains a NUL character, which no environment can hold",
    );
    message("[env]\nA = 1\n", "4:5: the value of a variable is a text; put it in quotes");
    message(
        "[environments.Q_A.env]\nA = \"x\"\n",
        "3:15: the environment name \"Q_A\" must be lower-case letters, digits and inner dashes, for example \"q-a\"",
    );
    message(
        "[environments.qa.processes.wrker]\ninstances = 1\n",
        "3:28: there is no [processes.wrker] that could be overridden",
    );
    message("[environments.qa.routes]\ndomains = [\"\"]\n", "4:12: \"\": the host name is empty");
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_file() {
    let shown = bad("[health]\npath = \"up\"\nexpect = 200\n[deploy]\nmax_surge = 0\n[release]\n");
    let heads: Vec<&str> = shown.lines().filter(|line| line.starts_with("temps.toml:")).collect();
    assert_eq!(
        heads,
        [
            "temps.toml:2:8: path must start with `/`",
            "temps.toml:5:13: max_surge and max_unavailable cannot both be 0: no instance could ever be replaced",
            "temps.toml:6:1: [release] has no command",
        ]
    );
}

#[test]
fn columns_count_characters_and_hostile_text_is_inert() {
    message(
        "[env]\n\"é\u{1b}[2J\" = \"x\"\n",
        "4:3: invalid basic string, expected non-double-quote visible characters, `\\`",
    );
    let shown = bad(&format!("{WEB}[env]\n\"ü\u{202e}\" = \"x\"\n"));
    assert!(shown.contains("\\u{202e}") && !shown.contains('\u{202e}'), "{shown}");
    let shown = bad("[processes.web]\ncommand = \"ü\" x\n");
    assert!(shown.starts_with("temps.toml:2:15: "), "{shown}");
}

#[test]
fn values_of_variables_are_hidden_in_messages() {
    for text in [
        "[env]\nKEY = \"canary\\u0000\"\n",
        "[env]\nKEY = \"canary\n",
        "[environments.qa.env]\n9KEY = \"canary\"\n",
        "env = { KEY = \"canary\\u0000\" }\n",
        "env.KEY = \"canary\n",
    ] {
        let shown = bad(text);
        assert!(!shown.contains("canary"), "{shown}");
    }
    check(
        "[env]\nKEY = \"canary\\u0000\"\n",
        "temps.toml:4:7: the value of KEY contains a NUL character, which no environment can hold\n  |\n4 | KEY = ***\n  |       ^^^",
    );
}

#[test]
fn a_missing_file_and_one_that_is_no_text_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let path = location(directory.path());
    assert_eq!(path, directory.path().join("temps.toml"));
    assert_eq!(location(&path), path);
    assert!(matches!(load(&path, "production"), Err(FileError::Missing { .. })));
    std::fs::write(&path, b"\xff\xfe").unwrap();
    let error = load(&path, "production").unwrap_err().to_string();
    assert_eq!(error, format!("cannot read {}: it is not text in UTF-8", path.display()));
}
