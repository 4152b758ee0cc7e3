//! Which environment a host and a path lead to, beside a slow and obvious reading of the same table.
//!
//! `TEMPS_FUZZ_SECONDS` is how long to look (1), `TEMPS_FUZZ_SEED` where to begin (the clock).

use std::time::{Duration, Instant, SystemTime};

use http::Request;
use temps_core::model::EnvironmentId;
use temps_core::table::Table;

use super::tests::{compiler, route};
use crate::asked::Asked;

/// A stream of numbers that depends on its seed alone (xorshift64*).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % n as u64).unwrap()
    }

    fn join(&mut self, of: &[&str], most: usize) -> String {
        (0..=self.below(most)).map(|_| of[self.below(of.len())]).collect()
    }
}

/// Few names and paths, so that they often are nearly the same.
const NAMES: &[&str] = &["a.b", "b.a", "A.b", "a-b.a", "a", "a_b", "127.0.0.1", "a.b.a"];
const HOSTS: &[&str] =
    &["a", "b", "A", ".", "-", "_", ":", "1", "80", "a.b", "B.a", "127.0.0.1", " ", ",", "@", "["];
const PREFIXES: &[&str] = &["/", "/a", "/a/", "/ab", "/a/b", "/a/b/", "/A", "/b", "//", "/a//b"];
const PATHS: &[&str] = &["/", "a", "b", "A", "/a", "/b", "%61", "?a", "/a?/b", "."];

/// The one form of a name; none where it is no name.
fn normal(host: &str) -> Option<String> {
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    let port_fits =
        port.is_empty() || port.chars().all(|c| c.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    let labels = name.split('.').all(|label| (1..=63).contains(&label.len()));
    (port_fits && plain && labels).then_some(name)
}

/// The first of those with the longest prefix.
fn obvious(table: &Table, host: &str, path: &str) -> Option<EnvironmentId> {
    let mut best: Option<(usize, EnvironmentId)> = None;
    for route in &table.routes {
        let prefix = route.path_prefix.trim_end_matches('/');
        let below = path == prefix || path.starts_with(&format!("{prefix}/")) || prefix.is_empty();
        let named = route.hosts.iter().any(|name| normal(name).as_deref() == Some(host));
        if named && below && best.is_none_or(|(length, _)| prefix.len() > length) {
            best = Some((prefix.len(), route.environment));
        }
    }
    best.map(|(_, environment)| environment)
}

// Who looks for long wants to know how many were tried.
#[allow(clippy::print_stdout)]
#[test]
fn a_request_goes_where_the_table_says() {
    let setting = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos();
    let seed = setting("TEMPS_FUZZ_SEED").unwrap_or_else(|| clock.into());
    let end = Instant::now() + Duration::from_secs(setting("TEMPS_FUZZ_SECONDS").unwrap_or(1));
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let (mut asked, mut found, mut refused) = (0_u64, 0_u64, 0_u64);
    while Instant::now() < end || asked == 0 {
        let routes = (1..=1 + dice.below(6) as u64).map(|n| {
            let hosts: Vec<&str> = (0..=dice.below(2)).map(|_| NAMES[dice.below(NAMES.len())]).collect();
            route(n, &hosts, PREFIXES[dice.below(PREFIXES.len())])
        });
        let table = Table { routes: routes.collect(), ..Table::default() };
        let compiled = compiler().compile(&table).table;
        for _ in 0..50 {
            let host = match dice.below(3) {
                0 => dice.join(HOSTS, 3),
                _ => format!(
                    "{}{}",
                    NAMES[dice.below(NAMES.len())],
                    dice.join(&["", "", ".", ":80", ":", "x"], 1)
                ),
            };
            let path = format!("/{}", dice.join(PATHS, 4));
            let Ok(request) = Request::get(&path).header("host", &host).body(()) else { continue };
            asked += 1;
            let name = Asked::of(&request).ok().map(|asked| asked.name().to_owned());
            let context = || format!("TEMPS_FUZZ_SEED={seed}: {host:?} {path:?}\n{:#?}", table.routes);
            assert_eq!(name, normal(&host), "{}", context());
            let Some(name) = name else {
                refused += 1;
                continue;
            };
            let got = compiled.find(&name, request.uri().path()).map(|route| route.environment);
            assert_eq!(got, obvious(&table, &name, request.uri().path()), "{}", context());
            found += u64::from(got.is_some());
        }
    }
    println!("{asked} requests, {found} of them found and {refused} refused, seed {seed}");
    assert!(found > asked / 20 && refused > 0, "{found} of {asked} found, {refused} refused");
}
