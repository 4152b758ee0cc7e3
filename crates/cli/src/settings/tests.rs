use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Consent, Credentials, Globals, Origin, Settings, UserFile, Variables};
use crate::exit::Code;
use crate::screen::{Agreed, ColourChoice};

const USER_FILE: &str = r#"
context = "prod"
environment = "staging"
color = "never"

[contexts.prod]
endpoints = ["n1:7000", "n2:7000"]

[contexts.lab]
endpoints = ["lab:7000"]
"#;

fn settings<const N: usize>(home: &Path, globals: Globals, variables: [(&str, &str); N]) -> Settings {
    let mut variables = Variables::of(variables);
    variables.0.insert("HOME".to_owned(), home.display().to_string());
    Settings::load(globals, variables).unwrap()
}

fn home(user_file: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join(".config/temps");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("config.toml"), user_file).unwrap();
    home
}

fn write_credentials(home: &Path, mode: u32) -> PathBuf {
    let path = home.join(".config/temps/credentials.toml");
    fs::write(&path, "[tokens]\nprod = \"temps1.secret\"\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn a_flag_wins_over_a_variable_over_the_user_file_over_the_default() {
    let home = home(USER_FILE);
    let file = Origin::File(home.path().join(".config/temps/config.toml"));

    let all = Globals {
        context: Some("lab".to_owned()),
        endpoints: vec!["flag:1".to_owned()],
        color: Some(ColourChoice::Always),
        utc: true,
        ..Globals::default()
    };
    let variables = [
        ("TEMPS_CONTEXT", "ci"),
        ("TEMPS_ENDPOINTS", "a:1, b:2,"),
        ("TEMPS_ENVIRONMENT", "qa"),
        ("TEMPS_PROJECT", "shop"),
        ("TEMPS_UTC", "1"),
    ];
    let from_file = || Some(("from-file".to_owned(), PathBuf::from("temps.toml")));

    let s = settings(home.path(), all, variables);
    assert_eq!((s.context().value.as_str(), s.context().origin), ("lab", Origin::Flag("--context")));
    assert_eq!(
        (s.endpoints().value, s.endpoints().origin),
        (vec!["flag:1".to_owned()], Origin::Flag("--endpoint"))
    );
    assert_eq!(s.environment(Some("dev")).origin, Origin::Flag("-e"));
    assert_eq!(s.project(Some("x"), from_file()).unwrap().origin, Origin::Flag("-p"));
    assert_eq!(s.color().value, ColourChoice::Always);
    assert_eq!(s.utc().origin, Origin::Flag("--utc"));

    let s = settings(home.path(), Globals::default(), variables);
    assert_eq!((s.context().value.as_str(), s.context().origin), ("ci", Origin::Variable("TEMPS_CONTEXT")));
    assert_eq!(s.endpoints().value, ["a:1", "b:2"]);
    assert_eq!(s.environment(None).value, "qa");
    assert_eq!(s.project(None, from_file()).unwrap().value, "shop");
    assert_eq!(s.utc().origin, Origin::Variable("TEMPS_UTC"));

    let s = settings(home.path(), Globals::default(), []);
    assert_eq!((s.context().value.as_str(), s.context().origin), ("prod", file.clone()));
    assert_eq!(
        (s.endpoints().value, s.endpoints().origin),
        (vec!["n1:7000".to_owned(), "n2:7000".to_owned()], file.clone())
    );
    assert_eq!((s.environment(None).value.as_str(), s.environment(None).origin), ("staging", file));
    assert_eq!(s.project(None, from_file()).unwrap().value, "from-file");
    assert_eq!(s.color().value, ColourChoice::Never);

    let empty = tempfile::tempdir().unwrap();
    let s = settings(empty.path(), Globals::default(), [("TEMPS_ENVIRONMENT", "")]);
    assert_eq!((s.context().value.as_str(), s.context().origin), ("default", Origin::Default));
    assert_eq!(s.endpoints().value, Vec::<String>::new());
    assert_eq!(
        (s.environment(None).value.as_str(), s.environment(None).origin),
        ("production", Origin::Default)
    );
    assert_eq!(s.project(None, None), None);
    assert!(!s.utc().value);
}

#[test]
fn the_place_of_the_user_file_can_be_chosen() {
    let other = tempfile::tempdir().unwrap();
    let path = other.path().join("mine.toml");
    fs::write(&path, "context = \"elsewhere\"").unwrap();
    let home = home(USER_FILE);
    let s = settings(home.path(), Globals::default(), [("TEMPS_CONFIG", path.to_str().unwrap())]);
    assert_eq!(s.context().value, "elsewhere");
    assert_eq!(s.places.credentials, other.path().join("credentials.toml"));
}

#[test]
fn agreement_comes_from_the_flag_or_the_variable() {
    let home = home("");
    let ask = Consent { yes: false };
    assert_eq!(settings(home.path(), Globals::default(), []).agreed(Consent { yes: true }), Agreed::Yes);
    assert_eq!(settings(home.path(), Globals::default(), [("TEMPS_YES", "1")]).agreed(ask), Agreed::Yes);
    for value in ["", "0", "no"] {
        assert_eq!(
            settings(home.path(), Globals::default(), [("TEMPS_YES", value)]).agreed(ask),
            Agreed::Ask
        );
    }
}

#[test]
fn a_token_file_that_others_can_read_is_refused_with_the_command_that_helps() {
    let home = home(USER_FILE);
    let s = settings(home.path(), Globals::default(), []);
    assert_eq!(s.token().unwrap(), None);
    for mode in [0o644, 0o640, 0o604, 0o620] {
        let path = write_credentials(home.path(), mode);
        let failure = s.token().unwrap_err();
        assert_eq!(failure.code, Code::Forbidden);
        assert_eq!(
            failure.to_string(),
            format!(
                "{0} holds tokens and others can read it (mode {mode:04o})\n  run `chmod 600 {0}`",
                path.display()
            )
        );
        assert!(!failure.to_string().contains("secret"));
    }
    for mode in [0o600, 0o400] {
        let path = write_credentials(home.path(), mode);
        let token = s.token().unwrap().unwrap();
        assert_eq!((token.value.as_str(), token.origin), ("temps1.secret", Origin::File(path.clone())));
        fs::remove_file(path).unwrap();
    }
    write_credentials(home.path(), 0o644);
    let s = settings(home.path(), Globals::default(), [("TEMPS_TOKEN", "temps1.other")]);
    assert_eq!(s.token().unwrap().unwrap().value, "temps1.other", "a file that is not needed is not judged");
}

#[test]
fn a_damaged_token_file_does_not_show_its_content() {
    let home = home("");
    let path = home.path().join("credentials.toml");
    fs::write(&path, "[tokens]\nprod = \"temps1.secret\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let failure = Credentials::load(&path).unwrap_err();
    assert!(failure.to_string().contains("is damaged"), "{failure}");
    assert!(!failure.to_string().contains("secret"), "{failure}");
}

#[test]
fn what_is_stored_is_private_and_read_back() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("a/b/credentials.toml");
    let mut credentials = Credentials::default();
    credentials.tokens.insert("prod".to_owned(), "temps1.secret".to_owned());
    credentials.store(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(Credentials::load(&path).unwrap(), credentials);
    assert!(!format!("{credentials:?}").contains("secret"));

    let user: UserFile = toml::from_str(USER_FILE).unwrap();
    let path = home.path().join("config.toml");
    user.store(&path).unwrap();
    assert_eq!(UserFile::load(&path).unwrap(), user);
}

#[test]
fn unknown_keys_of_the_user_file_are_errors() {
    let home = home("contxt = \"x\"\n");
    let failure = UserFile::load(&home.path().join(".config/temps/config.toml")).unwrap_err();
    assert_eq!(failure.code, Code::Usage);
    assert!(failure.to_string().contains("unknown field `contxt`"), "{failure}");
}
