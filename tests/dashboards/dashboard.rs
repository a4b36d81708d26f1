//! A dashboard: rows of panels laid out from left to right, variables, links.

use serde_json::{Value, json};

use super::panel::{INSTANCE, ORGANISATION, Panel, datasource, matched};

/// Where the runbooks are read; one place a dashboard, a hidden variable.
const RUNBOOKS: &str = "https://example.com/genesys-cloud-exporter/alerts/runbooks";

/// Width of the grid.
const COLUMNS: u64 = 24;

/// A dashboard under construction.
pub(crate) struct Dashboard {
    uid: &'static str,
    title: &'static str,
    description: &'static str,
    from: &'static str,
    variables: Vec<Value>,
    panels: Vec<Value>,
    next_id: u64,
    bottom: u64,
}

impl Dashboard {
    pub(crate) fn new(
        uid: &'static str,
        title: &'static str,
        description: &'static str,
        from: &'static str,
    ) -> Self {
        let source = json!({
            "name": "datasource", "label": "Data Source", "type": "datasource", "query": "prometheus", "regex": "",
            "hide": 0, "multi": false, "includeAll": false, "refresh": 1, "current": {}, "options": [],
        });
        let runbooks = json!({
            "name": "runbooks", "label": "Runbooks", "type": "constant", "query": RUNBOOKS, "hide": 2,
            "current": { "text": RUNBOOKS, "value": RUNBOOKS, "selected": true }, "options": [],
        });
        Self {
            uid,
            title,
            description,
            from,
            variables: vec![source, runbooks],
            panels: Vec::new(),
            next_id: 1,
            bottom: 0,
        }
        .variable(
            "job",
            "Job",
            "label_values(genesyscloud_exporter_build_info, job)",
            true,
        )
        .variable(
            "instance",
            "Instance",
            r#"label_values(genesyscloud_exporter_build_info{job=~"$job"}, instance)"#,
            true,
        )
        .organisations()
    }

    /// Of an exporter of one organisation series have no such label, and all are meant.
    fn organisations(self) -> Self {
        let query = format!("label_values(genesyscloud_up{{{INSTANCE}}}, org)");
        let mut dashboard = self.variable("org", "Organisation", &query, true);
        let variable = dashboard.variables.last_mut().expect("it was put there");
        variable["allValue"] = json!(".*");
        dashboard
    }

    /// A variable whose values Prometheus knows; `all`: every value is a choice, and the first.
    pub(crate) fn variable(mut self, name: &str, label: &str, query: &str, all: bool) -> Self {
        let query = matched(query);
        let current = if all {
            json!({ "text": ["All"], "value": ["$__all"], "selected": true })
        } else {
            json!({})
        };
        let mut variable = json!({
            "name": name, "label": label, "type": "query", "datasource": datasource(),
            "query": { "query": query, "refId": "Variable", "qryType": 1 }, "definition": query, "regex": "",
            "refresh": 2, "sort": 1, "hide": 0, "multi": true, "includeAll": all, "current": current, "options": [],
        });
        if all {
            variable["allValue"] = json!(".+");
        }
        self.variables.push(variable);
        self
    }

    /// A row with its panels, which flow from left to right.
    pub(crate) fn row(mut self, title: &str, panels: Vec<Panel>) -> Self {
        let grid = |x, y, w, h| json!({ "x": x, "y": y, "w": w, "h": h });
        let head = json!({ "type": "row", "title": title, "collapsed": false, "panels": [], "id": self.next_id, "gridPos": grid(0, self.bottom, COLUMNS, 1) });
        self.panels.push(head);
        self.next_id += 1;
        let (mut x, mut y, mut tallest) = (0, self.bottom + 1, 0);
        for mut panel in panels {
            if x + panel.width > COLUMNS {
                (x, y, tallest) = (0, y + tallest, 0);
            }
            panel.json["id"] = json!(self.next_id);
            panel.json["gridPos"] = grid(x, y, panel.width, panel.height);
            (x, tallest) = (x + panel.width, tallest.max(panel.height));
            self.next_id += 1;
            self.panels.push(panel.json);
        }
        self.bottom = y + tallest;
        self
    }

    /// The classic model, as Grafana 10 and later imports it.
    pub(crate) fn build(self) -> Value {
        json!({
            "uid": self.uid, "title": self.title, "description": self.description,
            "tags": ["genesys-cloud"], "schemaVersion": 41, "version": 1, "editable": true, "graphTooltip": 1,
            "timezone": "browser", "refresh": "30s", "time": { "from": self.from, "to": "now" },
            "fiscalYearStartMonth": 0, "weekStart": "",
            "templating": { "list": self.variables },
            "annotations": { "list": [paused()] },
            "links": [{
                "type": "dashboards", "title": "Genesys Cloud", "tags": ["genesys-cloud"], "asDropdown": true, "icon": "external link",
                "includeVars": true, "keepTime": true, "targetBlank": false, "tooltip": "", "url": "",
            }],
            "panels": self.panels,
        })
    }
}

/// Marks when figures stood still: on every dashboard, because it explains every flat line.
fn paused() -> Value {
    let expr = format!(
        r#"min by (job, instance, org) (genesyscloud_breaker_state{{{ORGANISATION}, state="closed"}}) == 0"#
    );
    json!({
        "name": "Polling paused", "datasource": datasource(), "enable": true, "hide": false, "iconColor": "red",
        "expr": expr, "step": "60s", "titleFormat": "Polling paused",
        "textFormat": "The circuit breaker of {{instance}} {{org}} is not closed: figures stand still.",
        "useValueForTime": false,
    })
}
