//! Routes: sinks that exist, an order in which each can be reached, conditions that compile.

use std::collections::HashMap;

use super::Step::{Index, Key};
use super::{Check, default_route_name};
use crate::config::de::unknown;
use crate::config::file::RouteSection;
use crate::config::scalar::Typed;
use crate::config::yaml::{Content, Node};
use crate::record::level::LevelRules;
use crate::route::{RouteSpec, Router};

/// Most routes: a decision names them with 16 bits, and none needs so many.
const MAX_ROUTES: usize = 1000;

/// Checks all routes; sinks are named by their order in the file.
pub(in crate::config) fn routes(
    check: &mut Check<'_>,
    routes: &[(usize, RouteSection)],
    levels: &LevelRules,
) -> Vec<RouteSpec> {
    order(check);
    let sinks = check.names("sinks");
    let mut names: HashMap<String, usize> = HashMap::new();
    let mut specs = Vec::new();
    for (index, route) in routes {
        let name = route.name.clone().unwrap_or_else(|| default_route_name(*index));
        let name_path = [Key("routes"), Index(*index), Key("name")];
        check.name(&name_path, &name);
        if let Some(first) = names.insert(name.clone(), *index) {
            check.problem(&name_path, format!("the name `{name}` is taken by routes[{first}]"));
        }
        let chosen = targets(check, *index, &route.to, sinks.as_deref());
        specs.push(RouteSpec { name, when: route.when.clone(), sinks: chosen, goes_on: route.goes_on });
    }
    if let Err(errors) = Router::compile(&specs, levels.clone()) {
        for error in errors {
            let index = routes.get(error.route).map_or(0, |(index, _)| *index);
            check.problem_inside(&[Key("routes"), Index(index), Key("when")], error.at, error.message);
        }
    }
    specs
}

/// The sinks that a route names.
fn targets(check: &mut Check<'_>, route: usize, to: &[String], sinks: Option<&[String]>) -> Vec<usize> {
    let Some(sinks) = sinks else { return Vec::new() };
    let mut chosen = Vec::new();
    for (at, name) in to.iter().enumerate() {
        let path = [Key("routes"), Index(route), Key("to"), Index(at)];
        match sinks.iter().position(|sink| sink == name) {
            None => check.problem(&path, unknown("sink", name, sinks.iter().map(String::as_str))),
            Some(sink) if chosen.contains(&sink) => {
                check.problem(&path, format!("the sink `{name}` stands twice; a sink takes a record at most once"));
            }
            Some(sink) => chosen.push(sink),
        }
    }
    chosen
}

/// Every record must meet a route, and every route a record. Looks at the tree, so that a route with another mistake
/// still has its place.
fn order(check: &mut Check<'_>) {
    const LAST: &str = "`- {name: rest, to: [archive]}`, or `to: []` to drop what is left";
    let nodes: &[Node] = check.root.get("routes").map(|entry| entry.value.items()).unwrap_or_default();
    let Some((last, above)) = nodes.split_last() else {
        if check.is_lost("routes") {
            return;
        }
        check.problem(&[Key("routes")], format!("no route is configured; at least the last one is needed: {LAST}"));
        return;
    };
    if nodes.len() > MAX_ROUTES {
        check.problem(&[Key("routes")], format!("{} routes, at most {MAX_ROUTES} are accepted", nodes.len()));
    }
    for (index, node) in above.iter().enumerate() {
        // Another mistake may be the reason, such as an unknown key instead of `when`.
        let fine = !check.is_broken(&format!("routes[{index}]"));
        if fine && is_map(node) && !has_condition(node) && !goes_on(node) {
            let message = "this route takes every record, so no route below is ever reached; move it to the end, or \
                           give it a `when` or `continue: true`";
            check.problem(&[Key("routes"), Index(index)], message);
        }
    }
    let path = [Key("routes"), Index(above.len())];
    if is_map(last) && has_condition(last) {
        let message = format!("the last route must take what is left, so it has no `when`; add one below: {LAST}");
        check.problem(&[path[0], path[1], Key("when")], message);
    } else if goes_on(last) {
        check.problem(&[path[0], path[1], Key("continue")], "no route is left below to continue with; leave it out");
    }
}

fn is_map(node: &Node) -> bool {
    matches!(node.content, Content::Map(_))
}

fn has_condition(node: &Node) -> bool {
    let null = |value: &Node| matches!(&value.content, Content::Scalar(scalar) if scalar.typed() == Typed::Null);
    node.get("when").is_some_and(|entry| !null(&entry.value))
}

fn goes_on(node: &Node) -> bool {
    let on = |value: &Node| matches!(&value.content, Content::Scalar(scalar) if scalar.typed() == Typed::Bool(true));
    node.get("continue").is_some_and(|entry| on(&entry.value))
}
