//! Values of variables reach the cluster byte for byte, however they are given.

use std::collections::BTreeMap;

use temps_core::model::Spec;
use temps_wire::codec;

use super::User;

/// What shells, quotes and files of variables are known to change.
fn values() -> BTreeMap<String, String> {
    let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n";
    let long = "x".repeat(65_536);
    let all = [
        "a\"b'c",
        "$HOME $$ ${X}",
        "`id` $(id)",
        "back\\slash\\n\\\\",
        pem,
        "  both ends  ",
        "\t\ttabs\t",
        "#x",
        "a=b=c",
        "",
        &long,
        "🦀\u{301}\u{feff}",
        "line\r\nline\r",
        "%s %d {{x}} ${{y}}",
        "true",
        "\u{1b}[2J\u{7f}",
    ];
    all.iter().enumerate().map(|(at, value)| (format!("V{at}"), (*value).to_owned())).collect()
}

#[tokio::test]
async fn by_the_file_of_the_project() {
    let user = User::new().await;
    let mut file = toml::Table::new();
    let web = toml::toml! {
        [processes.web]
        command = "./x"
    };
    file.extend(web);
    let env: toml::Table = values().into_iter().map(|(name, value)| (name, value.into())).collect();
    file.insert("env".to_owned(), env.into());
    user.write("temps.toml", &toml::to_string(&file).unwrap());
    let seen = user.types("deploy my-app -y --detach").await;
    assert_eq!(seen.code, 0, "{seen:?}");
    let spec: Spec = codec::decode(&user.town().deploys[0].spec).unwrap();
    let arrived: BTreeMap<String, String> =
        spec.variables.into_iter().map(|(name, value)| (name, value.0)).collect();
    assert_eq!(arrived, values());
    let shown = user.types("deploy my-app --dry-run").await;
    assert!(shown.out.contains("V3 = \"***\"") && !shown.out.contains("slash"), "{shown:?}");
}

#[tokio::test]
async fn by_a_file_of_variables_and_by_standard_input() {
    let mut user = User::new().await;
    let (lines, blocks): (BTreeMap<_, _>, BTreeMap<_, _>) =
        values().into_iter().partition(|(_, value)| !value.contains('\n'));
    let text: String = lines.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    user.write("variables", &text);
    assert_eq!(user.types("env import variables -p my-app").await.code, 0);
    for (name, value) in blocks {
        user.input = value;
        assert_eq!(user.types(&format!("env set {name}=- -p my-app")).await.code, 0);
    }
    assert_eq!(user.town().variables, values());
}
