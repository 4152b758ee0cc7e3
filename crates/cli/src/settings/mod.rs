//! Where every setting comes from: flag, `TEMPS_*` variable, project file, user file, default.
//!
//! Resolved once; below that nobody sees an absent value that has a default.

mod credentials;
mod globals;
mod places;
#[cfg(test)]
mod tests;
mod user_file;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

pub(crate) use credentials::Credentials;
pub use globals::Globals;
pub(crate) use globals::{Consent, Target};
pub(crate) use places::Places;
pub(crate) use user_file::{Context, UserFile};

use crate::exit::{Code, Failure};
use crate::screen::{Agreed, ColourChoice};

/// The environment that is meant where none is named.
pub(crate) const PRODUCTION: &str = "production";
/// The context that is used where none is named.
pub(crate) const DEFAULT_CONTEXT: &str = "default";

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag(&'static str),
    Variable(&'static str),
    File(PathBuf),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag(name) => f.write_str(name),
            Origin::Variable(name) => f.write_str(name),
            Origin::File(path) => path.display().fmt(f),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// A value and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting<T> {
    pub(crate) value: T,
    pub(crate) origin: Origin,
}

impl<T> Setting<T> {
    fn new(value: T, origin: Origin) -> Self {
        Self { value, origin }
    }
}

/// The environment variables that the command sees.
#[derive(Clone, Default)]
pub(crate) struct Variables(BTreeMap<String, String>);

impl Variables {
    /// Those of this process. What is not text cannot be one of ours.
    pub(crate) fn of_process() -> Self {
        Self(
            std::env::vars_os()
                .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
                .collect(),
        )
    }

    #[cfg(test)]
    pub(crate) fn of<const N: usize>(pairs: [(&str, &str); N]) -> Self {
        Self(pairs.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect())
    }

    /// The value, unless it is empty: an empty variable is one that is not set.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).filter(|value| !value.is_empty()).cloned()
    }

    fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| matches!(value.as_str(), "1" | "true" | "yes" | "on"))
    }
}

/// Everything that is known before the cluster is asked.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) globals: Globals,
    pub(crate) variables: Variables,
    pub(crate) places: Places,
    pub(crate) user: UserFile,
}

impl Settings {
    /// Reads the user file, where there is one.
    pub(crate) fn load(globals: Globals, variables: Variables) -> Result<Self, Failure> {
        let places = Places::of(&variables)?;
        let user = UserFile::load(&places.config)?;
        Ok(Self { globals, variables, places, user })
    }

    pub(crate) fn context(&self) -> Setting<String> {
        if let Some(name) = &self.globals.context {
            return Setting::new(name.clone(), Origin::Flag("--context"));
        }
        if let Some(name) = self.variables.get("TEMPS_CONTEXT") {
            return Setting::new(name, Origin::Variable("TEMPS_CONTEXT"));
        }
        match &self.user.context {
            Some(name) => Setting::new(name.clone(), Origin::File(self.places.config.clone())),
            None => Setting::new(DEFAULT_CONTEXT.to_owned(), Origin::Default),
        }
    }

    /// Endpoints in the order in which they are tried; none where nobody logged in.
    pub(crate) fn endpoints(&self) -> Setting<Vec<String>> {
        if !self.globals.endpoints.is_empty() {
            return Setting::new(self.globals.endpoints.clone(), Origin::Flag("--endpoint"));
        }
        if let Some(list) = self.variables.get("TEMPS_ENDPOINTS") {
            let endpoints =
                list.split(',').map(str::trim).filter(|e| !e.is_empty()).map(str::to_owned).collect();
            return Setting::new(endpoints, Origin::Variable("TEMPS_ENDPOINTS"));
        }
        match self.user.contexts.get(&self.context().value) {
            Some(context) => {
                Setting::new(context.endpoints.clone(), Origin::File(self.places.config.clone()))
            }
            None => Setting::new(Vec::new(), Origin::Default),
        }
    }

    /// The token; `None` where nobody logged in.
    pub(crate) fn token(&self) -> Result<Option<Setting<String>>, Failure> {
        if let Some(token) = self.variables.get("TEMPS_TOKEN") {
            return Ok(Some(Setting::new(token, Origin::Variable("TEMPS_TOKEN"))));
        }
        let credentials = Credentials::load(&self.places.credentials)?;
        let token = credentials.tokens.get(&self.context().value).cloned();
        Ok(token.map(|token| Setting::new(token, Origin::File(self.places.credentials.clone()))))
    }

    /// The project that is meant; `file` is the one named in the project file at hand.
    pub(crate) fn project(
        &self,
        flag: Option<&str>,
        file: Option<(String, PathBuf)>,
    ) -> Option<Setting<String>> {
        if let Some(name) = flag {
            return Some(Setting::new(name.to_owned(), Origin::Flag("-p")));
        }
        if let Some(name) = self.variables.get("TEMPS_PROJECT") {
            return Some(Setting::new(name, Origin::Variable("TEMPS_PROJECT")));
        }
        file.map(|(name, path)| Setting::new(name, Origin::File(path)))
    }

    pub(crate) fn environment(&self, flag: Option<&str>) -> Setting<String> {
        if let Some(name) = flag {
            return Setting::new(name.to_owned(), Origin::Flag("-e"));
        }
        if let Some(name) = self.variables.get("TEMPS_ENVIRONMENT") {
            return Setting::new(name, Origin::Variable("TEMPS_ENVIRONMENT"));
        }
        match &self.user.environment {
            Some(name) => Setting::new(name.clone(), Origin::File(self.places.config.clone())),
            None => Setting::new(PRODUCTION.to_owned(), Origin::Default),
        }
    }

    pub(crate) fn color(&self) -> Setting<ColourChoice> {
        match (self.globals.color, self.user.color) {
            (Some(choice), _) => Setting::new(choice, Origin::Flag("--color")),
            (None, Some(choice)) => Setting::new(choice.into(), Origin::File(self.places.config.clone())),
            (None, None) => Setting::new(ColourChoice::Auto, Origin::Default),
        }
    }

    pub(crate) fn utc(&self) -> Setting<bool> {
        if self.globals.utc {
            Setting::new(true, Origin::Flag("--utc"))
        } else if self.variables.is_on("TEMPS_UTC") {
            Setting::new(true, Origin::Variable("TEMPS_UTC"))
        } else {
            Setting::new(false, Origin::Default)
        }
    }

    pub(crate) fn agreed(&self, consent: Consent) -> Agreed {
        if consent.yes || self.variables.is_on("TEMPS_YES") { Agreed::Yes } else { Agreed::Ask }
    }
}

/// What is said where nobody logged in.
pub(crate) fn not_logged_in(context: &str) -> Failure {
    Failure::new(Code::Forbidden, format!("not logged in (context \"{context}\")"))
        .help("run `temps login ENDPOINT --token-stdin`, or set TEMPS_ENDPOINTS and TEMPS_TOKEN")
}
