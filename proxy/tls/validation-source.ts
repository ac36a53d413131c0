import type { SdsSecretConfig } from "#envoy/extensions/transport_sockets/tls/v3/secret_pb.ts";
import type { CommonTlsContext } from "#envoy/extensions/transport_sockets/tls/v3/tls_pb.ts";

import type { Place } from "../compile.ts";
import { compileValidation, type PeerValidation } from "./validation.ts";

/** Something that a TLS context has itself, or names as a secret (SDS). */
export type OwnOrSecret<T> = { readonly own: T } | { readonly secret: string };

/** The secret that a context names; it comes over ADS like everything else. */
export function secretOf({ name, sdsConfig }: SdsSecretConfig, place: Place): { readonly secret: string } {
  const source = sdsConfig?.configSourceSpecifier.case;
  if (name === "") place.field("name").refuse("must not be empty");
  if (source !== "ads" && source !== "self") place.field("sds_config").refuse("only ads is supported");
  return { secret: name };
}

/** Where a context has what its peers must be: nothing, one, or a default and a secret that is merged into it. */
export function compileValidationSources(
  { validationContextType: type }: Pick<CommonTlsContext, "validationContextType">,
  place: Place,
): readonly OwnOrSecret<PeerValidation>[] {
  switch (type.case) {
    case undefined:
      return [];
    case "validationContext":
      return [{ own: compileValidation(type.value, place.field("validation_context")) }];
    case "validationContextSdsSecretConfig":
      return [secretOf(type.value, place.field("validation_context_sds_secret_config"))];
    case "combinedValidationContext": {
      const { defaultValidationContext, validationContextSdsSecretConfig } = type.value;
      const at = place.field("combined_validation_context");
      if (defaultValidationContext === undefined || validationContextSdsSecretConfig === undefined) {
        at.refuse("both of its contexts must be set");
        return [];
      }
      return [
        { own: compileValidation(defaultValidationContext, at.field("default_validation_context")) },
        secretOf(validationContextSdsSecretConfig, at.field("validation_context_sds_secret_config")),
      ];
    }
    default:
      place.refuse(`${type.case} is not supported`);
      return [];
  }
}
