//! The queries of a dashboard's file. Pure: no socket, no clock.
use daemon::Failure;
use serde_json::Value;

/// What rates are taken over where a person's dashboard chooses by itself.
const RATE_INTERVAL: &str = "10s";

/// One question that a dashboard asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The panel's title, or the name of a variable.
    pub place: String,
    /// In PromQL, with every variable at "All".
    pub expression: String,
}

/// All queries of the dashboard in `text`, those of its variables too. Whatever a dashboard needs beside them to be shown is
/// checked on the way.
pub fn queries(name: &str, text: &str) -> Result<Vec<Query>, Failure> {
    let wrong = |what: String| Failure::internal(format!("{name}: {what}"));
    let dashboard: Value = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let variables = list(&dashboard["templating"]["list"]);
    let names: Vec<&str> = variables.iter().filter_map(|variable| variable["name"].as_str()).collect();
    if dashboard["uid"].as_str().is_none_or(|uid| format!("{uid}.json") != name) {
        return Err(wrong("its uid is not its file's name".into()));
    }
    let mut found = Vec::new();
    for variable in &variables {
        let place = format!("variable {}", variable["name"]);
        let query = variable["query"]["query"].as_str().and_then(label_values);
        let query = query.ok_or_else(|| wrong(format!("{place}: is no label_values(METRIC, LABEL)")))?;
        found.push(Query { expression: expand(&query, &names), place });
    }
    let (mut ids, mut places) = (Vec::new(), Vec::new());
    for panel in list(&dashboard["panels"]) {
        let title = panel["title"].as_str().unwrap_or_default().to_owned();
        if ids.contains(&panel["id"]) || places.contains(&panel["gridPos"]) || title.is_empty() {
            return Err(wrong(format!(
                "panel {} `{title}`: its id, its place or its title is not its own",
                panel["id"]
            )));
        }
        ids.push(panel["id"].clone());
        places.push(panel["gridPos"].clone());
        let targets = list(&panel["targets"]);
        for target in &targets {
            let expression = target["expr"].as_str().ok_or_else(|| wrong(format!("`{title}` asks nothing")))?;
            found.push(Query { place: title.clone(), expression: expand(expression, &names) });
        }
        if targets.is_empty() || panel["datasource"]["uid"] != "prometheus" {
            return Err(wrong(format!("`{title}` asks nothing, or not Prometheus")));
        }
    }
    Ok(found)
}

/// `label_values(METRIC, LABEL)` of a dashboard as a query.
fn label_values(text: &str) -> Option<String> {
    let (metric, label) = text.strip_prefix("label_values(")?.strip_suffix(')')?.rsplit_once(", ")?;
    Some(format!("count by ({label}) ({metric})"))
}

fn expand(expression: &str, variables: &[&str]) -> String {
    let rates = expression.replace("$__rate_interval", RATE_INTERVAL);
    variables.iter().fold(rates, |text, name| text.replace(&format!("\"${name}\""), "\".*\""))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn dashboard() -> Value {
        let panel = |id: u64, expr: &str| json!({"id": id, "title": "Rates", "gridPos": {"x": id}, "datasource": {"uid": "prometheus"}, "targets": [{"expr": expr}]});
        json!({
            "uid": "sample",
            "templating": {"list": [{"name": "topic", "query": {"query": "label_values(stored{a=~\"$topic\"}, topic)"}}]},
            "panels": [panel(1, "rate(in{t=~\"$topic\"}[$__rate_interval])"), panel(2, "up")],
        })
    }

    fn found(dashboard: &Value) -> Result<Vec<Query>, Failure> {
        queries("sample.json", &dashboard.to_string())
    }

    #[test]
    fn panels_and_variables_ask_with_everything_chosen() {
        let expressions: Vec<_> = found(&dashboard()).unwrap().into_iter().map(|query| query.expression).collect();
        assert_eq!(expressions, ["count by (topic) (stored{a=~\".*\"})", "rate(in{t=~\".*\"}[10s])", "up"]);
    }

    #[test]
    fn what_would_not_be_shown_is_refused() {
        for (pointer, value) in [
            ("/uid", json!("other")),
            ("/panels/1/id", json!(1)),
            ("/panels/1/gridPos/x", json!(1)),
            ("/panels/0/title", json!("")),
            ("/panels/0/targets", json!([])),
            ("/panels/0/datasource/uid", json!("influx")),
            ("/templating/list/0/query/query", json!("query_result(up)")),
        ] {
            let mut broken = dashboard();
            *broken.pointer_mut(pointer).expect(pointer) = value;
            assert!(found(&broken).is_err(), "{pointer}");
        }
    }
}
