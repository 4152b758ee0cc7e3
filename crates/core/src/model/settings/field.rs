//! Fields of a specification as values of settings.

use super::Value;
use crate::model::Strategy;

/// A field of a specification that can be set.
pub(super) trait Field {
    /// What it holds, where it holds anything.
    fn value(&self) -> Option<Value>;
    /// What does not fit stays out: whoever takes values from outside has them checked.
    fn put(&mut self, value: Option<&Value>);
}

impl Field for String {
    fn value(&self) -> Option<Value> {
        Some(Value::Text(self.clone()))
    }

    fn put(&mut self, value: Option<&Value>) {
        if let Some(Value::Text(text)) = value {
            self.clone_from(text);
        }
    }
}

impl Field for Option<String> {
    fn value(&self) -> Option<Value> {
        self.clone().map(Value::Text)
    }

    fn put(&mut self, value: Option<&Value>) {
        match value {
            Some(Value::Text(text)) => *self = Some(text.clone()),
            None => *self = None,
            Some(Value::Number(_) | Value::Flag(_) | Value::Strategy(_)) => {}
        }
    }
}

impl Field for bool {
    fn value(&self) -> Option<Value> {
        Some(Value::Flag(*self))
    }

    fn put(&mut self, value: Option<&Value>) {
        if let Some(Value::Flag(flag)) = value {
            *self = *flag;
        }
    }
}

impl Field for Strategy {
    fn value(&self) -> Option<Value> {
        Some(Value::Strategy(*self))
    }

    fn put(&mut self, value: Option<&Value>) {
        if let Some(Value::Strategy(strategy)) = value {
            *self = *strategy;
        }
    }
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl Field for $number {
            fn value(&self) -> Option<Value> {
                Some(Value::Number(u64::from(*self)))
            }

            fn put(&mut self, value: Option<&Value>) {
                if let Some(Value::Number(n)) = value {
                    *self = <$number>::try_from(*n).unwrap_or(<$number>::MAX);
                }
            }
        }
    )*};
}

numbers! { u16 u32 u64 }
