//! `obo-gateway vault`: its flags, and what it prints.

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use clap::Subcommand;

use obo_gateway::error_chain::ErrorChain;
use obo_gateway::vault_command::{self, VaultCommandError};

use super::{
    ConfigFile, PersonArguments, bad_configuration, environment, failed, in_runtime, print, print_json,
};

/// What an operator does with the vault.
#[derive(Subcommand)]
pub enum VaultCommand {
    /// Show whose connections it holds, at which service, as which account, and for which agents
    ///
    /// No token is shown. What cannot be used is shown with its fault.
    List {
        #[command(flatten)]
        config: ConfigFile,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take away all that a person has connected
    ///
    /// While the gateway runs, `obo-gateway forget` does it: then the services are asked to take their tokens back, and the audit
    /// trail has it. This does neither.
    Forget {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        person: PersonArguments,
    },
    /// Seal everything with the first key of the configuration, so that the others can be taken out
    ///
    /// First give the new key, above the old one, and restart the gateway: from then on both open and the new one seals. Then,
    /// with the gateway stopped, run this, and take the old key out. What cannot be opened is dropped, and counted.
    Rotate {
        #[command(flatten)]
        config: ConfigFile,
    },
}

/// Runs one of them.
pub fn run(command: VaultCommand) -> ExitCode {
    let failed_to = |error: VaultCommandError| match error {
        VaultCommandError::Config(error) => bad_configuration(&error),
        error => failed(&ErrorChain(&error).to_string()),
    };
    in_runtime(async {
        match command {
            VaultCommand::List { config, json } => {
                match vault_command::list(&config.path, &environment).await {
                    Ok(listed) if json => print_json(&listed),
                    Ok(listed) => print(&vault_command::table(&listed, io::stdout().is_terminal())),
                    Err(error) => failed_to(error),
                }
            }
            VaultCommand::Forget { config, person } => {
                match vault_command::forget(&config.path, &environment, &person.into()).await {
                    Ok(count) => print(&format!("connections removed: {count}")),
                    Err(error) => failed_to(error),
                }
            }
            VaultCommand::Rotate { config } => {
                match vault_command::rotate(&config.path, &environment).await {
                    Ok(sealed) => print(&sealed.to_string()),
                    Err(error) => failed_to(error),
                }
            }
        }
    })
}
