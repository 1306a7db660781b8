//! One file per command. A command answers false when it worked, but what it looked at is not as it should be.

pub mod balances;
pub mod config;
pub mod demo;
pub mod generations;
pub mod health;
pub mod order;
pub mod psql;
pub mod publish;
pub mod rebuild;
pub mod refund_file;
pub mod replay;
pub mod topics;
pub mod up;
