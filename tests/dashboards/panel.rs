//! Panels as data: what the dashboards use of Grafana's classic model, with one look.
//!
//! Options are written out in full, as Grafana's own export does: core panels' defaults then play
//! no part in how a dashboard looks.

use genesys_cloud_exporter::catalog::Metric;
use serde_json::{Value, json};

/// Matchers that every query carries.
pub(crate) const INSTANCE: &str = r#"job=~"$job", instance=~"$instance""#;

/// And every query about an organisation; an exporter of one has no such label.
pub(crate) const ORGANISATION: &str = r#"job=~"$job", instance=~"$instance", org=~"$org""#;

/// What is matched of the metric that a text ends with, up to its brace.
pub(crate) fn matchers(text: &str) -> &'static str {
    let name = text
        .trim_end_matches('{')
        .rsplit(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | ':')))
        .next()
        .unwrap_or_default();
    if Metric::by_name(name).is_some_and(|metric| metric.spec().is_of_process()) {
        INSTANCE
    } else {
        ORGANISATION
    }
}

/// The expression with its matchers in place of each `{}`.
pub(crate) fn matched(expr: &str) -> String {
    let mut parts = expr.split("{}");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for rest in parts {
        out += matchers(&out);
        out += rest;
    }
    out
}

/// Colours of the routing states, the same on every panel of every dashboard.
pub(crate) const STATE_COLOURS: [(&str, &str, &str); 5] = [
    ("available", "Available", "green"),
    ("on_call", "On call", "blue"),
    ("wrap_up", "Wrap-up", "purple"),
    ("not_ready", "Not ready", "orange"),
    ("unknown", "Unknown", "#8e8e8e"),
];

/// A step of a scale: from this value on (`None`: from below) this colour.
pub(crate) type Step = (Option<f64>, &'static str);

/// No judgement.
pub(crate) const NEUTRAL: &[Step] = &[(None, "blue")];

/// A panel under construction.
#[derive(Debug, Clone)]
pub(crate) struct Panel {
    pub(crate) json: Value,
    pub(crate) width: u64,
    pub(crate) height: u64,
}

impl Panel {
    fn new(kind: &str, title: &str, description: &str, unit: &str, options: &Value) -> Self {
        let json = json!({
            "type": kind,
            "title": title,
            "description": description,
            "datasource": datasource(),
            "targets": [],
            "options": options,
            "fieldConfig": {
                "defaults": { "unit": unit, "color": { "mode": "palette-classic" }, "mappings": [],
                    "thresholds": thresholds(NEUTRAL), "custom": {} },
                "overrides": [],
            },
        });
        Self {
            json,
            width: 12,
            height: 8,
        }
    }

    /// A single figure with a sparkline.
    pub(crate) fn stat(title: &str, description: &str, unit: &str, steps: &[Step]) -> Self {
        let options = json!({
            "colorMode": "value", "graphMode": "area", "justifyMode": "auto", "orientation": "auto",
            "textMode": "auto", "wideLayout": true,
            "reduceOptions": { "calcs": ["lastNotNull"], "fields": "", "values": false },
        });
        let mut panel = Self::new("stat", title, description, unit, &options).size(3, 4);
        *panel.defaults("color") = json!({ "mode": "thresholds" });
        *panel.defaults("thresholds") = thresholds(steps);
        *panel.defaults("noValue") = json!("–");
        panel
    }

    /// Lines over time.
    pub(crate) fn lines(title: &str, description: &str, unit: &str) -> Self {
        let options = json!({
            "legend": { "showLegend": true, "displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"] },
            "tooltip": { "mode": "multi", "sort": "desc" },
        });
        let mut panel = Self::new("timeseries", title, description, unit, &options);
        *panel.defaults("custom") = json!({
            "drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 1, "fillOpacity": 0,
            "gradientMode": "none", "showPoints": "never", "spanNulls": false,
            "stacking": { "mode": "none", "group": "A" }, "axisPlacement": "auto", "axisLabel": "",
            "thresholdsStyle": { "mode": "off" },
        });
        if unit == "short" {
            // Else a line at 0 gets an axis up to 100.
            panel.defaults("custom")["axisSoftMax"] = json!(1);
        }
        *panel.defaults("min") = json!(0);
        panel
    }

    /// Bars side by side, one a series.
    pub(crate) fn bars(title: &str, description: &str, unit: &str, steps: &[Step]) -> Self {
        let options = json!({
            "displayMode": "gradient", "orientation": "horizontal", "showUnfilled": true, "valueMode": "color",
            "namePlacement": "auto", "sizing": "auto", "minVizHeight": 16, "minVizWidth": 8, "maxVizHeight": 300,
            "reduceOptions": { "calcs": ["lastNotNull"], "fields": "", "values": false },
        });
        let mut panel = Self::new("bargauge", title, description, unit, &options);
        *panel.defaults("color") = json!({ "mode": "thresholds" });
        *panel.defaults("thresholds") = thresholds(steps);
        *panel.defaults("min") = json!(0);
        panel
    }

    /// A state over time, a row a series.
    pub(crate) fn timeline(title: &str, description: &str) -> Self {
        let options = json!({
            "mergeValues": true, "showValue": "auto", "alignValue": "left", "rowHeight": 0.8,
            "legend": { "showLegend": true, "displayMode": "list", "placement": "bottom" },
            "tooltip": { "mode": "single", "sort": "none" },
        });
        let mut panel = Self::new("state-timeline", title, description, "none", &options);
        *panel.defaults("custom") = json!({ "lineWidth": 0, "fillOpacity": 80 });
        *panel.defaults("color") = json!({ "mode": "fixed", "fixedColor": "text" });
        panel
    }

    /// A table of the instant; `columns` are names as queried, in order, with their headings.
    pub(crate) fn table(title: &str, description: &str, sort: &str) -> Self {
        let options = json!({ "showHeader": true, "cellHeight": "sm", "sortBy": [{ "displayName": sort, "desc": true }] });
        let mut panel = Self::new("table", title, description, "none", &options);
        *panel.defaults("color") = json!({ "mode": "thresholds" });
        *panel.defaults("custom") =
            json!({ "align": "auto", "cellOptions": { "type": "auto" }, "filterable": true });
        panel
    }

    fn defaults(&mut self, key: &str) -> &mut Value {
        &mut self.json["fieldConfig"]["defaults"][key]
    }

    fn list(&mut self, path: &str) -> &mut Vec<Value> {
        self.json.pointer_mut(path).unwrap().as_array_mut().unwrap()
    }

    /// Width in 24ths and height in units of the grid.
    pub(crate) fn size(mut self, width: u64, height: u64) -> Self {
        (self.width, self.height) = (width, height);
        self
    }

    /// A query. `{}` in the expression is where job, instance and organisation are matched.
    pub(crate) fn query(mut self, expr: &str, legend: &str) -> Self {
        // Bars show the instant; in a range, their order (`sort_desc`) would have no effect.
        let instant = self.json["type"] == "bargauge";
        let targets = self.list("/targets");
        let ref_id = char::from(b'A' + targets.len() as u8).to_string();
        targets.push(json!({
            "refId": ref_id, "datasource": datasource(), "editorMode": "code", "range": !instant, "instant": instant,
            "format": "time_series", "legendFormat": legend, "expr": matched(expr),
        }));
        self
    }

    /// A query of which only the value of the instant is shown, as a table.
    pub(crate) fn instant(self, expr: &str) -> Self {
        let mut panel = self.query(expr, "__auto");
        let target = panel.list("/targets").last_mut().unwrap();
        (target["range"], target["instant"]) = (json!(false), json!(true));
        target["format"] = json!("table");
        panel
    }

    /// Joins the instant queries of a table, and orders, names and hides its columns.
    pub(crate) fn columns(mut self, columns: &[(&str, &str)], hidden: &[&str]) -> Self {
        let position = |(at, (from, _)): (usize, &(&str, &str))| ((*from).to_owned(), json!(at));
        let index: serde_json::Map<_, _> = columns.iter().enumerate().map(position).collect();
        let renamed = columns
            .iter()
            .map(|(from, to)| ((*from).to_owned(), json!(to)));
        let renamed: serde_json::Map<_, _> = renamed.collect();
        let hidden = hidden.iter().map(|name| ((*name).to_owned(), json!(true)));
        let hidden: serde_json::Map<_, _> = hidden.collect();
        self.json["transformations"] = json!([
            { "id": "merge", "options": {} },
            { "id": "organize", "options": { "excludeByName": hidden, "indexByName": index, "renameByName": renamed } },
        ]);
        self
    }

    /// Areas on top of each other.
    pub(crate) fn stacked(mut self) -> Self {
        let custom = self.defaults("custom");
        custom["stacking"]["mode"] = json!("normal");
        (custom["fillOpacity"], custom["lineWidth"]) = (json!(55), json!(0));
        self
    }

    /// A line that says from where on it is bad.
    pub(crate) fn limits(mut self, steps: &[Step]) -> Self {
        *self.defaults("thresholds") = thresholds(steps);
        self.defaults("custom")["thresholdsStyle"]["mode"] = json!("dashed");
        self
    }

    /// The scale's ends; `None` leaves one open.
    pub(crate) fn scale(mut self, min: Option<f64>, max: Option<f64>) -> Self {
        (*self.defaults("min"), *self.defaults("max")) = (json!(min), json!(max));
        self.json["fieldConfig"]["defaults"]
            .as_object_mut()
            .unwrap()
            .retain(|_, value| !value.is_null());
        self
    }

    /// A scale on which 40 and 20,000 can both be read.
    pub(crate) fn logarithmic(mut self) -> Self {
        self.defaults("custom")["scaleDistribution"] = json!({ "type": "log", "log": 10 });
        self.scale(Some(1.0), None)
    }

    /// Figures after the point.
    pub(crate) fn decimals(mut self, decimals: u32) -> Self {
        *self.defaults("decimals") = json!(decimals);
        self
    }

    /// Words and colours in place of whole numbers.
    pub(crate) fn words(mut self, words: &[(i64, &str, &str)]) -> Self {
        let word = |(at, (value, text, colour)): (usize, &(i64, &str, &str))| {
            (
                value.to_string(),
                json!({ "text": text, "color": colour, "index": at }),
            )
        };
        let options: serde_json::Map<_, _> = words.iter().enumerate().map(word).collect();
        *self.defaults("mappings") = json!([{ "type": "value", "options": options }]);
        self
    }

    /// Each routing state in its colour, wherever a series or column has its name.
    pub(crate) fn state_colours(mut self) -> Self {
        for (state, _, colour) in STATE_COLOURS {
            let fixed = json!({ "mode": "fixed", "fixedColor": colour });
            self = self.overriding(state, &[("color", fixed)]);
        }
        if self.json["type"] == "timeseries" {
            self.names_only()
        } else {
            self
        }
    }

    /// Properties of the field with this name.
    pub(crate) fn overriding(mut self, field: &str, properties: &[(&str, Value)]) -> Self {
        let properties: Vec<_> = properties
            .iter()
            .map(|(id, value)| json!({ "id": id, "value": value }))
            .collect();
        self.list("/fieldConfig/overrides").push(
            json!({ "matcher": { "id": "byName", "options": field }, "properties": properties }),
        );
        self
    }

    /// A legend of names only, where all of them have to be seen at once.
    pub(crate) fn names_only(mut self) -> Self {
        let legend = &mut self.json["options"]["legend"];
        (legend["displayMode"], legend["calcs"]) = (json!("list"), json!([]));
        self
    }

    /// A link to the runbook of an alert that looks at the same figure.
    pub(crate) fn runbook(mut self, alert: &str) -> Self {
        let link = json!({ "title": format!("Runbook: {alert}"), "url": format!("${{runbooks}}/{alert}.md"), "targetBlank": true });
        self.json["links"] = json!([link]);
        self
    }
}

/// The data source that the reader chose.
pub(crate) fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

/// Steps of a scale.
pub(crate) fn thresholds(steps: &[Step]) -> Value {
    let steps: Vec<_> = steps
        .iter()
        .map(|(value, color)| json!({ "value": value, "color": color }))
        .collect();
    json!({ "mode": "absolute", "steps": steps })
}
