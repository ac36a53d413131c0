import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** PEM text of a certificate and its key. */
export interface TestCertificate {
  readonly cert: string;
  readonly key: string;
}

/** What a certificate is for. */
export interface CertificateWish {
  /** The common name. */
  readonly name: string;
  /** As OpenSSL writes them: "DNS:a.test", "URI:spiffe://a", "IP:127.0.0.1". */
  readonly altNames?: readonly string[];
  readonly type?: "rsa" | "ec";
  /** How long it is valid; -1: until yesterday. Default: 30. */
  readonly days?: number;
}

/** A certificate authority for one test, made by OpenSSL. */
export class TestAuthority {
  readonly #dir = mkdtempSync(join(tmpdir(), "sluice-ca-"));
  #serial = 1;
  /** PEM. */
  readonly cert: string;

  constructor(name = "test authority") {
    const extensions = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=keyCertSign,cRLSign"];
    this.#openssl(
      "req",
      "-x509",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:prime256v1",
      "-nodes",
      "-days",
      "30",
      "-subj",
      `/CN=${name}`,
      "-keyout",
      "ca.key",
      "-out",
      "ca.pem",
      ...extensions,
    );
    this.cert = this.#read("ca.pem");
  }

  /** A certificate signed by this authority. */
  issue({ name, altNames = [], type = "ec", days = 30 }: CertificateWish): TestCertificate {
    const algorithm = type === "ec" ? ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"] : ["rsa:2048"];
    this.#openssl(
      "req",
      "-newkey",
      ...algorithm,
      "-nodes",
      "-subj",
      `/CN=${name}`,
      "-keyout",
      "leaf.key",
      "-out",
      "leaf.csr",
    );
    writeFileSync(join(this.#dir, "leaf.ext"), altNames.length === 0 ? "" : `subjectAltName=${altNames.join(",")}\n`);
    this.#openssl(
      "x509",
      "-req",
      "-in",
      "leaf.csr",
      "-CA",
      "ca.pem",
      "-CAkey",
      "ca.key",
      "-days",
      String(days),
      "-set_serial",
      String(this.#serial++),
      "-extfile",
      "leaf.ext",
      "-out",
      "leaf.pem",
    );
    return { cert: this.#read("leaf.pem"), key: this.#read("leaf.key") };
  }

  /** Removes its files. */
  [Symbol.dispose](): void {
    rmSync(this.#dir, { recursive: true, force: true });
  }

  #read(file: string): string {
    return readFileSync(join(this.#dir, file), "utf8");
  }

  #openssl(...args: string[]): void {
    execFileSync("openssl", args, { cwd: this.#dir, stdio: "pipe" });
  }
}
