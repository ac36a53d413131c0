import { isIP } from "node:net";

import { InvalidArgumentError, Option } from "commander";
import { durationExamples, parseDuration } from "#proto/duration.ts";
import { CliError } from "./errors.ts";

/** Where the control plane and the proxy listen unless told otherwise. */
export const defaultAddress = {
  admin: "127.0.0.1:9180",
  xds: "127.0.0.1:18000",
  proxyAdmin: "127.0.0.1:9901",
} as const;

/** Options that every command takes. */
export interface GlobalOptions {
  readonly server?: string;
  readonly token?: string;
  readonly context?: string;
  readonly data?: string;
  readonly ca?: string;
  readonly insecure?: boolean;
  readonly output: OutputFormat;
  readonly timeout: number;
}

/** What `-o` takes. */
export type OutputFormat = "table" | "json" | "yaml";

/** An option with a value, and its environment variable. */
export const valued = (flags: string, description: string, env: string) => new Option(flags, description).env(env);

/** A switch with its environment variable, which may be true, 1, yes or false, 0, no. */
export function flag(flags: string, description: string, env: string): Option {
  const value = process.env[env]?.toLowerCase();
  // commander takes any value, "false" too, for the switch being there.
  if (value !== undefined && ["", "0", "false", "no", "off"].includes(value)) delete process.env[env];
  else if (value !== undefined && !["1", "true", "yes", "on"].includes(value)) {
    throw new CliError(`${env} must be true or false, and is ${value}`);
  }
  return new Option(flags, description).env(env);
}

/** HOST:PORT, [V6]:PORT; a port alone is on 127.0.0.1. Port 0 is any free one. */
export function address(text: string): string {
  const [, host = "", port = ""] = /^(?:(.*):)?(\d{1,5})$/.exec(text) ?? [];
  const bare = host.replace(/^\[(.*)\]$/, "$1");
  const hostOk =
    host === "" || (host.includes(":") ? host.startsWith("[") && isIP(bare) === 6 : /^[\w.-]+$/.test(host));
  if (port === "" || Number(port) > 65_535 || !hostOk) {
    throw new InvalidArgumentError("an address is written HOST:PORT, as in 127.0.0.1:9180 or [::1]:9180.");
  }
  return `${host === "" ? "127.0.0.1" : host}:${Number(port)}`;
}

/** Milliseconds of a duration. */
export function durationMs(text: string): number {
  const duration = parseDuration(text);
  const ms = duration === undefined ? -1 : Number(duration.seconds) * 1000 + duration.nanos / 1e6;
  if (ms < 0) throw new InvalidArgumentError(`a duration is written like ${durationExamples}.`);
  return ms;
}

/** A whole number within bounds. */
export const integer =
  (low: number, high: number) =>
  (text: string): number => {
    const value = Number(text);
    if (!/^\d{1,9}$/.test(text) || value < low || value > high) {
      throw new InvalidArgumentError(`must be a whole number from ${low} to ${high}.`);
    }
    return value;
  };

/** The options that every command takes. */
export const globalOptions = (): readonly Option[] => [
  valued("--server <url>", "the control plane's admin API, as in https://gateway.example.com:9180", "SLUICE_SERVER"),
  valued("--token <token>", "the token for it", "SLUICE_TOKEN"),
  valued("--context <name>", "server and token by the name that `sluice context set` gave them", "SLUICE_CONTEXT"),
  valued("--data <dir>", "the data directory of a control plane on this machine (default: ./.sluice)", "SLUICE_DATA"),
  valued("--ca <file>", "trust the certificate authorities in this PEM file", "SLUICE_CA"),
  flag("--insecure", "allow plain text beyond this machine", "SLUICE_INSECURE"),
  valued("-o, --output <format>", "table, json or yaml", "SLUICE_OUTPUT")
    .choices(["table", "json", "yaml"])
    .default("table"),
  valued("--timeout <duration>", "for each call to the control plane", "SLUICE_TIMEOUT")
    .argParser(durationMs)
    .default(10_000, "10s"),
];

/** Where data lies unless told otherwise. */
export const dataDirectory = ({ data }: { readonly data?: string | undefined }): string => data ?? ".sluice";
