//! `user`: who may log in, from the operator's side.

use std::io::IsTerminal;

use anyhow::Context;
use scrollback_api::node::operator;
use serde_json::json;

use super::open_or_create_node;
use crate::cli::{Common, User, UserCommand};
use crate::output::tell;

pub(crate) fn run(common: &Common, typed: User) -> anyhow::Result<()> {
    // Asked for before the data is opened, so that nothing is held while somebody types.
    let password = match &typed.command {
        UserCommand::Add { .. } | UserCommand::Passwd { .. } => Some(read_password()?),
        _ => None,
    };
    let node = open_or_create_node(common)?;
    let outcome = match (typed.command, password) {
        (UserCommand::Add { name, role }, Some(password)) => {
            operator::add_user(&node, &name, &password, role.into())
        }
        (UserCommand::Passwd { name }, Some(password)) => operator::set_password(&node, &name, &password),
        (UserCommand::Role { name, role }, _) => operator::set_role(&node, &name, role.into()),
        (UserCommand::Disable { name, undo }, _) => operator::set_active(&node, &name, undo),
        _ => Ok(()),
    };
    let users = operator::list_users(&node);
    node.finish()?;
    outcome?;
    let lines: Vec<String> = users
        .iter()
        .map(|user| {
            format!(
                "{}\t{}\t{}{}",
                user.id,
                user.role,
                user.name,
                if user.active { "" } else { " (disabled)" }
            )
        })
        .collect();
    tell(common, &lines.join("\n"), &json!({ "users": users }))
}

/// The password, without showing it; from the first line of standard input when nobody is there to type it twice.
fn read_password() -> anyhow::Result<String> {
    if !std::io::stdin().is_terminal() {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).context("reading the password from standard input")?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    let password = rpassword::prompt_password("Password: ").context("reading the password")?;
    let again = rpassword::prompt_password("Again: ").context("reading the password")?;
    anyhow::ensure!(password == again, "the two passwords differ; nothing was changed");
    Ok(password)
}
