//! The binary: arguments in, exit code out.

use std::io;
use std::process::ExitCode;

use genesys_cloud_exporter::catalog;
use genesys_cloud_exporter::cli::{self, Command, Exit};

fn main() -> ExitCode {
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
