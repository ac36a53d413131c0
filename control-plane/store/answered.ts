/** How long PostgreSQL may take to answer, unless said otherwise. */
const ANSWER_MS_MAX = 10_000;

/**
 * What the database says, if it does in time; a driver waits for a host that went without a word until TCP gives up, some 15 minutes. The
 * question is still open then.
 */
export async function answered<Answer>(answer: Promise<Answer>, msMax = ANSWER_MS_MAX): Promise<Answer> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`no answer within ${msMax / 1000} s`)), msMax);
  return await Promise.race([answer, late.promise]).finally(() => clearTimeout(timer));
}
