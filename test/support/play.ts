import fc from "fast-check";

/** What rounds are played on. */
interface Explorer<Round> {
  /** The last rounds, in words. */
  readonly history: readonly string[];
  play(round: Round): Promise<void>;
  /** Compares everything with the model. */
  compareAll(): Promise<void>;
}

/** Plays rounds, `runs` times so many, and compares after each. @throws with the last rounds and the seed where one is wrong. */
export async function playRounds<Round>(
  explorer: Explorer<Round>,
  round: fc.Arbitrary<Round>,
  { runs, roundsEach, seed }: { runs: number; roundsEach: number; seed: number },
): Promise<void> {
  const { failed, numRuns, errorInstance } = await fc.check(
    fc.asyncProperty(fc.array(round, { minLength: roundsEach, maxLength: roundsEach }), async (played) => {
      try {
        for (const round of played) await explorer.play(round);
        await explorer.compareAll();
      } catch (error) {
        throw new Error(`${error}\nafter\n${explorer.history.join("\n")}`, { cause: error });
      }
    }),
    // Each run goes on from where the one before has come, so a failure is not made smaller but shown as it was.
    { numRuns: runs, seed, endOnFailure: true },
  );
  if (failed) throw new Error(`TINTYPE_TEST_SEED=${seed}, run ${numRuns}: ${errorInstance}`, { cause: errorInstance });
}
