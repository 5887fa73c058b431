//! Figures beside the goals set for them.
use std::fmt;

/// Each figure that has a goal, in the order they were taken. Shown as a list, with what was missed marked.
#[derive(Debug, Clone, Default)]
pub struct Goals {
    figures: Vec<Figure>,
}

#[derive(Debug, Clone)]
struct Figure {
    what: String,
    value: f64,
    goal: String,
    met: bool,
}

impl Goals {
    /// Notes a figure that should not be larger than `limit`.
    pub fn at_most(&mut self, what: &str, value: f64, limit: f64) {
        self.figures.push(Figure { what: what.into(), value, goal: format!("<= {limit}"), met: value <= limit });
    }

    /// Notes a figure that should not be smaller than `limit`.
    pub fn at_least(&mut self, what: &str, value: f64, limit: f64) {
        self.figures.push(Figure { what: what.into(), value, goal: format!(">= {limit}"), met: limit <= value });
    }

    /// Whether all figures whose description contains `part` are as they should be.
    #[must_use]
    pub fn met(&self, part: &str) -> bool {
        self.figures.iter().filter(|figure| figure.what.contains(part)).all(|figure| figure.met)
    }
}

impl fmt::Display for Goals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Figure { what, value, goal, met } in &self.figures {
            let verdict = if *met { "met" } else { "MISSED" };
            writeln!(f, "{verdict:<6} {what}: {value:.2}, goal {goal}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_on_the_wrong_side_is_missed() {
        let mut goals = Goals::default();
        goals.at_most("GETs per GB", 70.0, 70.0);
        goals.at_least("share", 0.7, 0.7);
        assert!(goals.met(""));
        goals.at_least("share of many", 0.69, 0.7);
        goals.at_most("PUTs per GB", f64::NAN, 20.0);
        assert!(goals.met("GETs") && !goals.met("share") && !goals.met("PUTs"));
        assert!(goals.to_string().contains("MISSED share of many: 0.69, goal >= 0.7"), "{goals}");
    }
}
