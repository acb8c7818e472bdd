//! Prices by item and region: the embedded table, of which every row has its source and date, and files that replace
//! rows of it or add regions.

use std::collections::BTreeMap;

use serde::Deserialize;

/// AWS's public prices.
const TABLE: &str = include_str!("prices.json");

/// Items that a file may add: what any other storage class costs.
const FURTHER: [&str; 2] = ["s3_storage_", "s3_put_"];

/// A price table.
#[derive(Clone, Debug)]
pub struct Prices {
    rows: Vec<Row>,
}

/// A table as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    currency: Option<String>,
    rows: Vec<Row>,
}

/// What one item costs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    item: String,
    /// What the price is for: `GB`, `GB-month`, `1000 requests`, `hour`, `GB-hour`.
    unit: Option<String>,
    source: Option<String>,
    /// Of the source, as it gives it.
    date: Option<String>,
    /// By region, in USD.
    prices: BTreeMap<String, f64>,
}

/// Why a price cannot be told.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PriceError {
    /// A file is no table.
    #[error("no price table: {0}; write for example {example}", example = EXAMPLE)]
    Malformed(String),
    /// A table in another currency than the embedded one.
    #[error("the currency is `{0}`; accepted is USD")]
    Currency(String),
    /// A row that nothing asks for.
    #[error("`{found}` is no item; accepted are {accepted}, and s3_storage_CLASS and s3_put_CLASS")]
    Item {
        /// What was found.
        found: String,
        /// Those of the embedded table.
        accepted: String,
    },
    /// A row in another unit than the embedded one.
    #[error("the unit of `{item}` is `{found}`; accepted is `{accepted}`")]
    Unit {
        /// Which row.
        item: String,
        /// What was found.
        found: String,
        /// That of the embedded table.
        accepted: String,
    },
    /// A price that is negative or no number.
    #[error("the price of `{item}` in {region} is {found}; accepted are numbers from 0 on")]
    Price {
        /// Which row.
        item: String,
        /// Which region.
        region: String,
        /// What was found.
        found: String,
    },
    /// A region without prices.
    #[error("no prices for region `{found}`; known are {known}; a file may add others (--prices)")]
    Region {
        /// What was asked for.
        found: String,
        /// Those that have prices.
        known: String,
    },
    /// An item without a price in a region that has others.
    #[error("no price of `{item}` in {region}; known there are {known}; a file may add it (--prices)")]
    Missing {
        /// What was asked for.
        item: String,
        /// Where.
        region: String,
        /// Items that have a price there.
        known: String,
    },
}

const EXAMPLE: &str = r#"{"rows": [{"item": "cloudwatch_ingest_STANDARD", "prices": {"us-east-1": 0.45}}]}"#;

impl Prices {
    /// The embedded table.
    pub fn embedded() -> Self {
        let table: Table = serde_json::from_str(TABLE).expect("a test reads the embedded table");
        Self { rows: table.rows }
    }

    /// The table with what a file says instead: it may have fewer rows and regions.
    pub fn with(mut self, text: &str) -> Result<Self, PriceError> {
        let table: Table = serde_json::from_str(text).map_err(|error| PriceError::Malformed(error.to_string()))?;
        if let Some(currency) = table.currency.filter(|currency| currency != "USD") {
            return Err(PriceError::Currency(currency));
        }
        for row in table.rows {
            row.check()?;
            self.replace(row)?;
        }
        Ok(self)
    }

    fn replace(&mut self, row: Row) -> Result<(), PriceError> {
        let Some(known) = self.rows.iter_mut().find(|known| known.item == row.item) else {
            if FURTHER.iter().any(|prefix| row.item.strip_prefix(prefix).is_some_and(|class| !class.is_empty())) {
                self.rows.push(row);
                return Ok(());
            }
            return Err(PriceError::Item { found: row.item, accepted: list(self.rows.iter().map(|row| &row.item)) });
        };
        if let (Some(found), Some(accepted)) = (&row.unit, &known.unit)
            && found != accepted
        {
            return Err(PriceError::Unit { item: row.item, found: found.clone(), accepted: accepted.clone() });
        }
        known.prices.extend(row.prices);
        // What the file does not say of its source is at least not the embedded one's.
        known.source = Some(row.source.unwrap_or_else(|| "your own prices".into()));
        known.date = row.date;
        Ok(())
    }

    /// The prices of a region.
    pub fn region<'a>(&'a self, name: &'a str) -> Result<Region<'a>, PriceError> {
        let mut known: Vec<&String> = self.rows.iter().flat_map(|row| row.prices.keys()).collect();
        known.sort();
        known.dedup();
        if known.iter().any(|region| *region == name) {
            return Ok(Region { name, prices: self });
        }
        Err(PriceError::Region { found: name.into(), known: list(known.into_iter()) })
    }

    /// Where the prices of these items are from: source and date, each once.
    pub fn sources<'a>(&'a self, items: &[&str]) -> Vec<(&'a str, &'a str)> {
        let mut found = Vec::new();
        for row in self.rows.iter().filter(|row| items.contains(&row.item.as_str())) {
            let pair = (row.source.as_deref().unwrap_or("unknown"), row.date.as_deref().unwrap_or("no date"));
            if !found.contains(&pair) {
                found.push(pair);
            }
        }
        found
    }
}

impl Row {
    fn check(&self) -> Result<(), PriceError> {
        match self.prices.iter().find(|(_, price)| !(price.is_finite() && **price >= 0.0)) {
            None => Ok(()),
            Some((region, price)) => {
                Err(PriceError::Price { item: self.item.clone(), region: region.clone(), found: price.to_string() })
            }
        }
    }
}

fn list<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// The prices of one region.
#[derive(Clone, Copy, Debug)]
pub struct Region<'a> {
    name: &'a str,
    prices: &'a Prices,
}

impl Region<'_> {
    /// Its name.
    pub fn name(&self) -> &str {
        self.name
    }

    /// What a unit of an item costs.
    pub fn price(&self, item: &str) -> Result<f64, PriceError> {
        let found = self.prices.rows.iter().find(|row| row.item == item).and_then(|row| row.prices.get(self.name));
        found.copied().ok_or_else(|| PriceError::Missing {
            item: item.into(),
            region: self.name.into(),
            known: list(self.prices.rows.iter().filter(|row| row.prices.contains_key(self.name)).map(|row| &row.item)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INGEST: &str = "cloudwatch_ingest_STANDARD";

    fn error(text: &str) -> String {
        Prices::embedded().with(text).expect_err(text).to_string()
    }

    #[test]
    fn every_embedded_row_has_its_unit_source_and_date_and_all_six_regions() {
        let prices = Prices::embedded();
        assert!(prices.rows.len() >= 15);
        for row in &prices.rows {
            assert!(row.unit.is_some() && row.source.is_some() && row.date.is_some(), "{row:?}");
            assert_eq!(row.prices.len(), 6, "{row:?}");
            assert!(row.check().is_ok() && row.prices.values().all(|price| *price > 0.0), "{row:?}");
        }
    }

    #[test]
    fn an_unknown_region_lists_the_known_ones() {
        let prices = Prices::embedded();
        let error = prices.region("mars-1").expect_err("there is no such region").to_string();
        assert!(error.contains("`mars-1`") && error.contains("ap-northeast-1") && error.contains("us-west-2"));
    }

    #[test]
    fn a_file_replaces_what_it_names_and_leaves_the_rest() {
        let text = r#"{"currency": "USD", "rows": [
            {"item": "cloudwatch_ingest_STANDARD", "unit": "GB", "source": "our contract", "date": "2026-01-01",
             "prices": {"us-east-1": 0.4, "sa-east-1": 0.9}},
            {"item": "s3_storage_DEEP_ARCHIVE", "prices": {"us-east-1": 0.00099}}]}"#;
        let prices = Prices::embedded().with(text).expect("a table");
        let price = |region, item| prices.region(region).and_then(|region| region.price(item));
        assert_eq!(price("us-east-1", INGEST), Ok(0.4));
        assert_eq!(price("us-west-2", INGEST), Ok(0.5));
        assert_eq!(price("us-east-1", "s3_storage_STANDARD"), Ok(0.023));
        assert_eq!(price("us-east-1", "s3_storage_DEEP_ARCHIVE"), Ok(0.00099));
        assert_eq!(price("sa-east-1", INGEST), Ok(0.9));
        let missing = price("sa-east-1", "cloudwatch_storage").expect_err("not given").to_string();
        assert!(missing.contains("`cloudwatch_storage` in sa-east-1") && missing.contains(INGEST), "{missing}");
        assert_eq!(prices.sources(&[INGEST]), [("our contract", "2026-01-01")]);
    }

    #[test]
    fn what_is_no_table_is_refused_with_what_was_found_and_what_is_accepted() {
        assert!(error("{").contains("line 1") && error("{").contains("write for example"));
        assert!(error(r#"{"rows": [], "more": 1}"#).contains("unknown field `more`"));
        assert!(error(r#"{"currency": "EUR", "rows": []}"#).contains("`EUR`; accepted is USD"));
        let item = error(r#"{"rows": [{"item": "cloudwatch_ingest", "prices": {"us-east-1": 1}}]}"#);
        assert!(item.contains("`cloudwatch_ingest` is no item") && item.contains(INGEST), "{item}");
        let unit = error(r#"{"rows": [{"item": "s3_put_STANDARD", "unit": "request", "prices": {}}]}"#);
        assert!(unit.contains("`request`; accepted is `1000 requests`"), "{unit}");
        let price = error(r#"{"rows": [{"item": "cloudwatch_storage", "prices": {"us-east-1": -1}}]}"#);
        assert!(price.contains("us-east-1 is -1; accepted are numbers from 0 on"), "{price}");
    }
}
