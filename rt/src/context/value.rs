//! The values of a context: a list, of which derived contexts share the older part.

use std::any::{Any, TypeId};
use std::sync::Arc;

#[derive(Clone, Default)]
pub(super) struct Values(Option<Arc<Value>>);

struct Value<T: ?Sized = dyn Any + Send + Sync> {
    older: Values,
    value: T,
}

impl Values {
    pub(super) const NONE: Self = Self(None);

    pub(super) fn with<T: Any + Send + Sync>(&self, value: T) -> Self {
        Self(Some(Arc::new(Value { older: self.clone(), value })))
    }

    /// Returns the newest value of this type.
    pub(super) fn get<T: Any>(&self) -> Option<&T> {
        let mut values = self;
        while let Some(newest) = &values.0 {
            if newest.value.type_id() == TypeId::of::<T>() {
                return newest.value.downcast_ref();
            }
            values = &newest.older;
        }
        None
    }
}

impl Drop for Values {
    fn drop(&mut self) {
        // Drops the older values that no other context shares, one by one: otherwise their drops
        // would nest.
        while let Some(mut newest) = self.0.take() {
            self.0 = Arc::get_mut(&mut newest).and_then(|value| value.older.0.take());
        }
    }
}
