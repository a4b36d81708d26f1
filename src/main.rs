//! The binary: arguments in, exit code out.

use std::io;
use std::process::ExitCode;

use genesys_cloud_exporter::catalog;
use genesys_cloud_exporter::cli::{self, Command, Exit};
#[cfg(feature = "crash-points")]
use genesys_cloud_exporter::crash;

/// What a cycle frees goes back to the system. The C library's allocator keeps an arena a thread:
/// with 100,000 agents it held on to a third more than ever was in use at once.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    arm();
    let environment = cli::environment(std::env::vars_os());
    let exit = match cli::parse(std::env::args_os(), &environment) {
        Err(error) => {
            cli::complain(&error);
            Exit::Usage
        }
        Ok(Command::Show(text)) => {
            cli::print(&text);
            Exit::Fine
        }
        Ok(Command::Metrics) => {
            cli::print(&catalog::reference());
            Exit::Fine
        }
        Ok(Command::CheckConfig { file }) => {
            cli::check::config(&file, &environment, &mut io::stdout(), &mut io::stderr())
                .unwrap_or(Exit::Failed)
        }
        Ok(Command::Export(args)) => cli::export::run(&args, &environment),
        Ok(Command::Doctor(args)) => cli::doctor::run(&args, &environment),
        Ok(Command::Run(args)) => cli::run::run(&args, &environment),
        Ok(Command::Demo(args)) => cli::demo::run(&args),
        Ok(Command::Simulate(args)) => cli::simulate::run(&args),
        Ok(Command::History(args)) => cli::history::run(&args),
    };
    exit.into()
}

/// Where a test has this process end; nowhere in any build but that of the tests.
fn arm() {
    #[cfg(feature = "crash-points")]
    if let Some(text) = std::env::var_os(crash::CRASH_AT) {
        let fuse = crash::Fuse::parse(&text.to_string_lossy());
        crash::arm(fuse.expect("a test names a point"));
    }
}
