//! `hello worker`: one job after another, without HTTP. After SIGTERM it finishes the one it has begun.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

use crate::answers::App;
use crate::settings::OnTerm;

/// Works until it is asked to end.
pub(crate) async fn run(app: &App) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut asked = false;
    for n in 1_u64.. {
        app.journal.line(&format!("job {n} begun"));
        let job = tokio::time::sleep(app.settings.job);
        tokio::pin!(job);
        loop {
            tokio::select! {
                () = job.as_mut() => break,
                _ = terminate.recv(), if !asked => {
                    asked = true;
                    app.journal.line(&format!("SIGTERM during job {n}"));
                }
            }
        }
        app.journal.line(&format!("job {n} done"));
        if asked && !matches!(app.settings.on_term, OnTerm::Ignore) {
            app.journal.line("no job left, exiting with code 0");
            return Ok(());
        }
    }
    Ok(())
}
