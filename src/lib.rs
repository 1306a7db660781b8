//! The ledger as one program: its configuration, its roles, and the commands that people type.

pub mod cli;
pub mod commands;
pub mod config;
pub mod house;
pub mod openapi;
pub mod output;
pub mod play;
pub mod roles;
pub mod telemetry;
