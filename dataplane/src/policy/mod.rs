//! Policy: what people meant, and the tables that packets are judged by.

pub mod ruleset;
