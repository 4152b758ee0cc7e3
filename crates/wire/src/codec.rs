//! One encoding for everything that is opaque to protobuf: MessagePack with field names, so that
//! a reader of another version can still make sense of it.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// How deep values may be nested; our own types stay far below.
const DEPTH_MAX: usize = 64;

/// The bytes are not what was expected.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// They are damaged, too deep, or of something else.
    #[error("the bytes do not decode: {0}")]
    Malformed(#[from] rmp_serde::decode::Error),
    /// Something follows the value.
    #[error("{0} bytes follow the value")]
    Trailing(usize),
}

/// The bytes of a value.
#[must_use]
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    rmp_serde::to_vec_named(value).expect("values of the derived types always encode")
}

/// The value of some bytes.
///
/// # Errors
/// [`DecodeError`] where the bytes are not exactly one such value.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let mut deserializer = rmp_serde::Deserializer::new(bytes);
    deserializer.set_max_depth(DEPTH_MAX);
    let value = T::deserialize(&mut deserializer)?;
    match deserializer.get_ref().len() {
        0 => Ok(value),
        rest => Err(DecodeError::Trailing(rest)),
    }
}

#[cfg(test)]
mod tests {
    use temps_core::command::{Command, Made, Outcome, Receipt};
    use temps_core::model::{DeploymentId, Spec};

    use super::{DecodeError, decode, encode};

    #[test]
    fn values_survive() {
        let spec = Spec {
            variables: [("A".to_owned(), temps_core::model::Opaque("b\0\u{1f600}".to_owned()))].into(),
            ..Spec::default()
        };
        assert_eq!(decode::<Spec>(&encode(&spec)).unwrap(), spec);
        let receipt = Receipt { index: u64::MAX, outcome: Outcome::Done(Made::Deployment(DeploymentId(42))) };
        assert_eq!(decode::<Receipt>(&encode(&receipt)).unwrap(), receipt);
        let command = Command::CreateProject { name: "shop".to_owned() };
        assert_eq!(decode::<Command>(&encode(&command)).unwrap(), command);
    }

    #[test]
    fn hostile_bytes_are_an_error() {
        let good = encode(&Command::CreateProject { name: "shop".to_owned() });
        for end in 0..good.len() {
            assert!(decode::<Command>(&good[..end]).is_err(), "cut at {end}");
        }
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                // Some flips only change the name; none may do worse than be refused.
                let _ = decode::<Command>(&bad);
            }
        }
        // A length of four gigabytes, and ten thousand nested arrays.
        assert!(decode::<Vec<u8>>(&[0xdd, 0xff, 0xff, 0xff, 0xff]).is_err());
        assert!(decode::<Command>(&[0x91; 10_000]).is_err());
        let mut long = good;
        long.push(0xc0);
        assert!(matches!(decode::<Command>(&long), Err(DecodeError::Trailing(1))));
    }
}
