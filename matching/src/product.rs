//! The kinds of ride, and sets of them small enough to be looked at for every driver of a search.

use jitney_proto::ids::ProductId;

use crate::{config::ProductConfig, error::Refusal};

/// Products, a bit for each place in the [`Catalogue`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProductSet(u64);

impl ProductSet {
    /// What a search that takes any driver asks for.
    pub const ANY: Self = Self(u64::MAX);

    /// Whether the two have a product in common. A driver who serves nothing still counts as any.
    pub fn meets(self, wanted: Self) -> bool {
        wanted == Self::ANY || self.0 & wanted.0 != 0
    }
}

/// The configured products, numbered as configured.
#[derive(Clone, Debug)]
pub struct Catalogue {
    products: Vec<ProductConfig>,
}

impl Catalogue {
    /// The products of a configuration that was checked: 1 to 64 of them.
    pub fn new(products: Vec<ProductConfig>) -> Self {
        Self { products }
    }

    /// All, in order.
    pub fn products(&self) -> &[ProductConfig] {
        &self.products
    }

    /// The product a request names; the first one when it names none.
    ///
    /// # Errors
    /// [`Refusal::UnknownProduct`].
    pub fn named_or_first(&self, name: &str) -> Result<(ProductId, ProductSet), Refusal> {
        let place = if name.is_empty() {
            0
        } else {
            self.place(name)?
        };
        let product = self.products.get(place).ok_or_else(|| unknown(name))?;
        Ok((product.id.clone(), ProductSet(1 << place)))
    }

    /// The product of that id, if it is (still) configured.
    pub fn get(&self, id: &str) -> Option<&ProductConfig> {
        self.products
            .iter()
            .find(|product| product.id.as_str() == id)
    }

    /// Whether riders of a product may share the car; not when it is not configured (any more).
    pub fn shares(&self, id: &str) -> bool {
        self.get(id).is_some_and(|product| product.shared)
    }

    /// The set of these products.
    ///
    /// # Errors
    /// [`Refusal::UnknownProduct`] for the first that is not configured.
    pub fn set<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<ProductSet, Refusal> {
        names
            .into_iter()
            .try_fold(ProductSet::default(), |set, name| {
                Ok(ProductSet(set.0 | 1 << self.place(name)?))
            })
    }

    /// The set of those of these products that are (still) configured.
    pub fn known<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> ProductSet {
        let places = names.into_iter().filter_map(|name| self.place(name).ok());
        ProductSet(places.fold(0, |set, place| set | 1 << place))
    }

    /// The ids of a set.
    pub fn ids(&self, set: ProductSet) -> impl Iterator<Item = &ProductId> {
        let products = self.products.iter().enumerate();
        products
            .filter(move |(place, _)| set.0 >> place & 1 == 1)
            .map(|(_, product)| &product.id)
    }

    fn place(&self, name: &str) -> Result<usize, Refusal> {
        self.products
            .iter()
            .position(|product| product.id.as_str() == name)
            .ok_or_else(|| unknown(name))
    }
}

fn unknown(name: &str) -> Refusal {
    // A name from outside may be of any length; the message must not be.
    Refusal::UnknownProduct(name.chars().take(64).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    #[test]
    fn sets_and_names() {
        let catalogue = Catalogue::new(Config::default().products);
        let set = catalogue.set(["van", "economy"]).unwrap();
        let ids: Vec<_> = catalogue.ids(set).map(ProductId::as_str).collect();
        assert_eq!(ids, ["economy", "van"]);
        let (_, comfort) = catalogue.named_or_first("comfort").unwrap();
        let (first, economy) = catalogue.named_or_first("").unwrap();
        assert_eq!(first.as_str(), "economy");
        assert!(set.meets(economy) && !set.meets(comfort) && set.meets(ProductSet::ANY));
        assert!(ProductSet::default().meets(ProductSet::ANY));
        assert!(catalogue.set(["economy", "yacht"]).is_err());
        assert_eq!(catalogue.known(["yacht", "comfort"]), comfort);
    }
}
