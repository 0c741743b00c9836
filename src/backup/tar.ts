/**
 * As much of tar (POSIX ustar) as a backup needs: regular files under plain names, each in whole blocks. It is written
 * here, and not by a library, because a backup must know where each byte lies and that there is one way to write it:
 * its last entry holds the hash of all before, and is compared byte for byte.
 */
export const BLOCK = 512;

/** Two empty blocks end an archive. */
export const END_OF_ARCHIVE = Buffer.alloc(2 * BLOCK);

/** The largest number of eleven octal digits; sizes above are written in binary, as GNU tar and all others do. */
const OCTAL_MAX = 0o77777777777;

const CHECKSUM = { at: 148, length: 8 };
const MAGIC = { at: 257, text: "ustar\u000000" };

export interface TarEntry {
  name: string;
  /** Bytes. */
  size: number;
}

/** The bytes that fill an entry's last block. */
export function padding(size: number): Buffer {
  return Buffer.alloc(-size & (BLOCK - 1));
}

/** @param modified seconds since 1970. */
export function tarHeader({ name, size }: TarEntry, modified: number): Buffer {
  if (!/^[\x21-\x7e]{1,100}$/.test(name)) throw new Error(`not a name for a tar entry: ${name}`);
  const header = Buffer.alloc(BLOCK);
  header.write(name, 0, "latin1");
  header.write("0000600\u00000000000\u00000000000\0", 100, "latin1");
  if (size <= OCTAL_MAX) header.write(`${octal(size, 11)}\0`, 124, "latin1");
  else {
    header[124] = 0x80;
    header.writeBigUInt64BE(BigInt(size), 128);
  }
  header.write(`${octal(modified, 11)}\0`, 136, "latin1");
  header.write("0", 156, "latin1");
  header.write(MAGIC.text, MAGIC.at, "latin1");
  header.write(`${octal(checksum(header), 6)}\0 `, CHECKSUM.at, "latin1");
  return header;
}

/** @returns what a header says, or null for a block that is none of ours. */
export function parseTarHeader(header: Buffer): TarEntry | null {
  const text = (at: number, length: number) => header.toString("latin1", at, at + length).split("\0", 1)[0] ?? "";
  if (text(MAGIC.at, 5) !== "ustar" || text(156, 1) !== "0") return null;
  if (Number.parseInt(text(CHECKSUM.at, CHECKSUM.length), 8) !== checksum(header)) return null;
  const size = header[124] === 0x80 ? Number(header.readBigUInt64BE(128)) : Number.parseInt(text(124, 12), 8);
  return Number.isSafeInteger(size) ? { name: text(0, 100), size } : null;
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, "0");
}

/** The sum of the header's bytes, with spaces where the sum itself is. */
function checksum(header: Buffer): number {
  let sum = CHECKSUM.length * 0x20;
  for (const [index, byte] of header.entries()) {
    if (index < CHECKSUM.at || index >= CHECKSUM.at + CHECKSUM.length) sum += byte;
  }
  return sum;
}
