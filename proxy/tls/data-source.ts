import { readFileSync } from "node:fs";

import type { DataSource } from "#envoy/config/core/v3/base_pb.ts";

import type { Place } from "../compile.ts";

/** Certificates, keys, lists of authorities; more is a mistake. */
const BYTES_MAX = 4 * 1024 * 1024;

/**
 * The bytes of a DataSource; a file is read now, and again when the resource that names it changes. Undefined: a problem was reported,
 * which never quotes what was read.
 */
export function readDataSource({ specifier, watchedDirectory }: DataSource, place: Place): Buffer | undefined {
  if (watchedDirectory !== undefined) place.field("watched_directory").refuse("not supported");
  const bytes = bytesOf(specifier, place);
  if (bytes === undefined) return undefined;
  if (bytes.length > 0 && bytes.length <= BYTES_MAX) return bytes;
  place.refuse(bytes.length === 0 ? "is empty" : `is longer than ${BYTES_MAX} bytes`);
  return undefined;
}

function bytesOf(specifier: DataSource["specifier"], place: Place): Buffer | undefined {
  switch (specifier.case) {
    case "inlineString":
      return Buffer.from(specifier.value);
    case "inlineBytes":
      return Buffer.from(specifier.value);
    case "environmentVariable": {
      const value = process.env[specifier.value];
      if (value === undefined) place.field("environment_variable").refuse("is not set");
      return value === undefined ? undefined : Buffer.from(value);
    }
    case "filename":
      try {
        return readFileSync(specifier.value);
      } catch (error) {
        place.field("filename").refuse(`cannot be read: ${error instanceof Error ? error.message : String(error)}`);
        return undefined;
      }
    default:
      place.refuse("one of filename, inline_bytes, inline_string, environment_variable must be set");
      return undefined;
  }
}
