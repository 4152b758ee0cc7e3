//! A sample application, and the toy that the black-box tests deploy: a small HTTP server whose
//! every behaviour, good and bad, is chosen by environment variables (see [`settings`]).
//!
//! The first argument chooses what it is: `web` (the default), `worker`, `migrate`, a command that runs once,
//! or `check`, a command that tells whether all is well.
//!
//! It knows nothing of the platform that runs it beyond `PORT` and the names it is given.

mod answers;
mod busy;
mod journal;
mod notes;
mod settings;
mod socket;
mod worker;

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

use crate::answers::App;
use crate::journal::Journal;
use crate::settings::{OnTerm, Settings};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let settings = Settings::from_environment();
    let role = std::env::args().nth(1).unwrap_or_else(|| "web".to_owned());
    if role == "check" {
        std::process::exit(settings.check_exit);
    }
    let journal = Journal::open(&settings);
    journal.line(&format!("starting {} on port {}", settings.version, settings.port));
    if role == "migrate" {
        migrate(&settings, &journal).await;
    }
    if let Some(code) = settings.exit_at_once {
        journal.line(&format!("configuration is broken, giving up with code {code}"));
        std::process::exit(code);
    }
    let app = Arc::new(App::new(settings, journal));
    tokio::spawn(crash(Arc::clone(&app)));
    tokio::spawn(eat_memory(Arc::clone(&app)));
    let ended = match role.as_str() {
        "web" => serve(&app).await,
        "worker" => worker::run(&app).await,
        role => Err(io::Error::other(format!("{role} is neither web, worker, migrate nor check"))),
    };
    if let Err(error) = ended {
        app.journal.line(&format!("cannot serve: {error}"));
        std::process::exit(2);
    }
}

/// Runs once and ends.
async fn migrate(settings: &Settings, journal: &Journal) -> ! {
    journal.line("migration begun");
    tokio::time::sleep(settings.migrate).await;
    let code = settings.migrate_exit;
    journal.line(&format!("migration ended with code {code}"));
    std::process::exit(code)
}

/// Ends the process after `CRASH_AFTER_MS`.
async fn crash(app: Arc<App>) {
    if let Some(after) = app.settings.crash_after {
        tokio::time::sleep(after).await;
        app.journal.line("out of luck, crashing with code 1");
        std::process::exit(1);
    }
}

/// Takes more and more memory after `EAT_MEMORY_AFTER_MS`, until somebody ends that.
async fn eat_memory(app: Arc<App>) {
    let Some(after) = app.settings.eat_memory_after else {
        return;
    };
    tokio::time::sleep(after).await;
    app.journal.line("hungry for memory");
    let mut eaten = Vec::new();
    loop {
        // A page that was never written to takes no memory.
        eaten.push(vec![1_u8; 1 << 20]);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn serve(app: &Arc<App>) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let listener_app = Arc::clone(app);
    let listening = async move {
        tokio::time::sleep(listener_app.settings.start_delay).await;
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, listener_app.settings.port)).await?;
        listener_app.journal.line("listening");
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(connection(Arc::clone(&listener_app), stream));
        }
    };
    let term_app = Arc::clone(app);
    let terminating = async move {
        while terminate.recv().await.is_some() {
            term_app.terminate();
            match term_app.settings.on_term {
                OnTerm::ExitNow => std::process::exit(0),
                OnTerm::ExitAfter(time) => {
                    tokio::time::sleep(time).await;
                    term_app.journal.line("work finished, exiting with code 0");
                    std::process::exit(0);
                }
                OnTerm::Ignore => term_app.journal.line("ignoring SIGTERM"),
            }
        }
    };
    tokio::spawn(terminating);
    listening.await
}

/// Serves one connection, and closes it when it was idle for longer than `CLOSE_IDLE_MS`.
async fn connection(app: Arc<App>, stream: TcpStream) {
    // A missing TCP_NODELAY only costs time.
    let _ = stream.set_nodelay(true);
    let activity = Arc::new(busy::Activity::default());
    let service = {
        let (app, activity) = (Arc::clone(&app), Arc::clone(&activity));
        service_fn(move |request| {
            let (app, busy) = (Arc::clone(&app), activity.begin());
            async move { Ok::<_, std::convert::Infallible>(app.answer(request, busy).await) }
        })
    };
    if app.settings.http2 {
        // How a client leaves is its own business.
        let _ =
            http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        return;
    }
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades();
    tokio::pin!(connection);
    let idle = app.settings.close_idle.unwrap_or(Duration::MAX);
    loop {
        tokio::select! {
            // How a client leaves is its own business.
            _ = connection.as_mut() => return,
            () = activity.idle_for(idle) => connection.as_mut().graceful_shutdown(),
        }
    }
}
