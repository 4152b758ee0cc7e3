//! CRC-32 as in IEEE 802.3: it notices every damage of up to 32 bits in a row, and any other but for one in 2^32.

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut rest = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            rest = if rest & 1 == 1 { (rest >> 1) ^ 0xEDB8_8320 } else { rest >> 1 };
            bit += 1;
        }
        table[byte] = rest;
        byte += 1;
    }
    table
}

/// Of all parts, one after another.
pub(crate) fn checksum(parts: &[&[u8]]) -> u32 {
    let mut rest = u32::MAX;
    for byte in parts.iter().copied().flatten() {
        let place = (rest ^ u32::from(*byte)) & 0xFF;
        rest = TABLE[place as usize] ^ (rest >> 8);
    }
    !rest
}

#[cfg(test)]
mod tests {
    use super::checksum;

    #[test]
    fn it_is_the_one_that_everybody_calls_crc_32() {
        assert_eq!(checksum(&[b"1234", b"56789"]), 0xCBF4_3926);
        assert_eq!(checksum(&[]), 0);
    }
}
