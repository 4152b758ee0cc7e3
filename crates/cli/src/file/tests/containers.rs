//! What only containers can hold to, and how they are made.

use temps_core::model::{Order, Placement, ProcessSpec, ReleaseCommand};

use super::{WEB, bad, good, message};
use crate::file::{BuildRules, Builder, Language, ProjectFile, Shown};

const CONTAINERS: &str = r#"
[build]
dockerfile = "./deploy//Dockerfile"
timeout = "45m"
[processes.web]
port = 3000
memory = "512M"
cpus = 0.5
drain_timeout = "1m"
[processes.worker]
command = "./worker"
drain_timeout = "10m"
order = "stop_first"
check = "./worker --ping"
stop_signal = "quit"
[processes.clock]
command = "./clock"
exclusive = true
[release]
command = "./migrate up"
[volumes]
data = "/var/lib/app/"
[placement]
spread = "zone"
require = { disk = "ssd", "gpu.model" = "h100" }
[environments.staging.processes.web]
memory = "256M"
cpus = 0.25
[environments.staging.placement]
require = {}
"#;

#[test]
fn what_containers_need_can_be_said() {
    let file = good(CONTAINERS, "production");
    let build =
        BuildRules { dockerfile: Some("deploy/Dockerfile".to_owned()), builder: None, timeout: 45 * 60_000 };
    assert_eq!(file.build, build);
    let spec = &file.spec;
    let web = ProcessSpec {
        http: true,
        instances: 1,
        port: Some(3_000),
        memory: Some(512 << 20),
        cpus: Some(500),
        drain_timeout: Some(60_000),
        ..ProcessSpec::default()
    };
    assert_eq!(spec.processes["web"], web);
    let worker = ProcessSpec {
        command: "./worker".to_owned(),
        instances: 1,
        drain_timeout: Some(600_000),
        order: Order::StopFirst,
        check: Some("./worker --ping".to_owned()),
        stop_signal: Some("SIGQUIT".to_owned()),
        ..ProcessSpec::default()
    };
    assert_eq!(spec.processes["worker"], worker);
    let clock = &spec.processes["clock"];
    assert_eq!((clock.exclusive, clock.order, clock.instances), (true, Order::StopFirst, 1));
    assert_eq!(spec.release, Some(ReleaseCommand { command: "./migrate up".to_owned(), timeout: 600_000 }));
    assert_eq!(spec.volumes, [("data".to_owned(), "/var/lib/app".to_owned())].into());
    let require = [("disk", "ssd"), ("gpu.model", "h100")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    assert_eq!(spec.placement, Placement { spread: "zone".to_owned(), require });

    let staging = good(CONTAINERS, "staging").spec;
    assert_eq!(
        (staging.processes["web"].memory, staging.processes["web"].cpus),
        (Some(256 << 20), Some(250))
    );
    assert_eq!((staging.placement.spread.as_str(), staging.placement.require.len()), ("zone", 0));
}

#[test]
fn a_file_without_processes_means_what_an_image_runs_by_itself() {
    for text in ["", "[project]\nname = \"a\"\n"] {
        let web = ProcessSpec { http: true, instances: 1, ..ProcessSpec::default() };
        assert_eq!(good(text, "production").spec.processes, [("web".to_owned(), web)].into());
    }
    assert_eq!(ProjectFile::default(), good("", "production"));
    assert_eq!(
        ProjectFile::default().fits_bundle(),
        Err(vec![
            "process `web` has no command: add a line such as `command = \"./server\"` to [processes.web]"
                .to_owned()
        ])
    );
    assert_eq!(good(WEB, "production").fits_bundle(), Ok(()));
}

#[test]
fn every_builder_has_a_word() {
    for (word, builder) in [
        ("dockerfile", Builder::Dockerfile),
        ("static", Builder::Detected(Language::Static)),
        ("node", Builder::Detected(Language::Node)),
        ("python", Builder::Detected(Language::Python)),
        ("go", Builder::Detected(Language::Go)),
        ("rust", Builder::Detected(Language::Rust)),
        ("ruby", Builder::Detected(Language::Ruby)),
        ("bundle", Builder::Bundle),
    ] {
        assert_eq!(good(&format!("[build]\nbuilder = \"{word}\"\n"), "x").build.builder, Some(builder));
    }
}

#[test]
fn a_fixed_port_of_a_node_is_refused_with_the_reason() {
    for key in ["host_port = 8080", "ports = [\"8080:80\"]", "publish = \"8080:80\""] {
        let shown = bad(&format!("{WEB}{key}\n"));
        let name = key.split(' ').next().unwrap();
        let carets = "^".repeat(name.len());
        assert_eq!(
            shown,
            format!(
                "temps.toml:3:1: a fixed port of the node is not possible: while a release is replaced two instances run at once, and only one could have it\n  |\n3 | {key}\n  | {carets}\n  = write `port = 8080` with the port on which the process listens inside of its container; the edge of each node routes requests to it"
            )
        );
    }
}

#[test]
fn containers_that_cannot_work_say_why() {
    message(
        "memory = \"lots\"\n",
        "3:10: \"lots\" is not an amount of memory; write for example \"512M\" (units: K, M, G)",
    );
    message(
        "memory = 512\n",
        "3:10: the amount \"512\" needs a unit; write for example \"512M\" (units: K, M, G)",
    );
    message("cpus = \"two\"\n", "3:8: \"two\" is not a number of cores; write for example 0.5, or 2");
    message("cpus = 0\n", "3:8: cpus must be from 0.01 to 1000");
    message("cpus = nan\n", "3:8: \"NaN\" is not a number of cores; write for example 0.5, or 2");
    message("check = \"./x\"\n", "3:9: a process that answers HTTP is checked by requests, as [health] says");
    message("order = \"last\"\n", "3:9: there is no order \"last\"");
    message(
        "stop_signal = \"KILL\"\n",
        "3:15: no process can react to SIGKILL, so it would lose what it is doing",
    );
    message("stop_signal = \"9\"\n", "3:15: \"9\" is not a signal that asks a process to end");
    message("port = 65536\n", "3:8: port must be from 1 to 65535");
    message("[processes.w]\nport = 80\n", "4:8: only a process that answers HTTP has a port");
    message("[processes.w]\ncheck = \"\"\n", "4:9: the check is empty");
    message(
        "exclusive = true\ninstances = 2\n",
        "4:13: an exclusive process never runs twice, so it has one instance",
    );
    message(
        "exclusive = true\n[environments.qa.processes.web]\ninstances = 2\n",
        "5:13: an exclusive process never runs twice, so it has one instance",
    );
    message(
        "exclusive = true\norder = \"start_first\"\n",
        "4:9: an exclusive process never runs twice, so the old instance has to stop first",
    );
    message(
        "[processes.release]\ncommand = \"x\"\n",
        "3:12: a process cannot be called `release`: that is how the release command runs",
    );
    message("[release]\ntimeout = \"1m\"\n", "3:1: [release] has no command");
    message("[release]\ncommand = \" \"\n", "4:11: the release command is empty");
    message("[release]\ncommand = \"x\"\ntimeout = \"0s\"\n", "5:11: timeout must be longer than 0");
    message("[build]\nbuilder = \"java\"\n", "4:11: there is no builder \"java\"");
    message("[build]\ntimeout = \"0s\"\n", "4:11: timeout must be longer than 0");
    for path in ["/Dockerfile", "../Dockerfile", "a/../../b", "", "docker/"] {
        message(
            &format!("[build]\ndockerfile = \"{path}\"\n"),
            "4:14: dockerfile must be the path of a file inside the directory",
        );
    }
    message(
        "[build]\nbuilder = \"node\"\ndockerfile = \"D\"\n",
        "5:14: a Dockerfile is not used by the builder \"node\"",
    );
    message(
        "[volumes]\ndata = \"data\"\n",
        "4:8: a volume is mounted at an absolute path inside of the container",
    );
    message("[volumes]\ndata = \"/\"\n", "4:8: a volume cannot be all of the container");
    message("[volumes]\ndata = \"/proc/x\"\n", "4:8: /proc/x belongs to the system of the container");
    for path in ["/a/../b", "/a//b", "/a b", "/a:b", "/a,b"] {
        message(
            &format!("[volumes]\ndata = \"{path}\"\n"),
            "4:8: the path of a volume is printable ASCII without spaces, `:`, `,`, `.` and `..` as parts, and at most 255 characters",
        );
    }
    message("[volumes]\na = \"/x\"\nb = \"/x/\"\n", "5:5: two volumes cannot both be at /x");
    message(
        "[volumes]\nData = \"/x\"\n",
        "4:1: the volume name \"Data\" must be lower-case letters, digits and inner dashes, for example \"data\"",
    );
    message("[volumes]\ndata = 1\n", "4:8: invalid type: integer `1`, expected a string");
    message(
        "[placement]\nspread = \"\"\n",
        "4:10: a label is 1 to 64 printable ASCII characters without spaces",
    );
    message(
        "[placement]\nrequire = { disk = \"s s d\" }\n",
        "4:20: a label is 1 to 64 printable ASCII characters without spaces",
    );
}

#[test]
fn what_is_shown_of_containers_is_the_same_file_again() {
    let mut file = good(CONTAINERS, "production");
    let shown = toml::to_string(&Shown::of("my-app", &file)).unwrap();
    file.project = Some("my-app".to_owned());
    assert_eq!(good(&shown, "production"), file, "{shown}");
}
