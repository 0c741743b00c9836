export const SERVICES = ["redis", "minio", "versitygw", "cassandra", "nginx"] as const;
export type ServiceName = (typeof SERVICES)[number];

/** What one running instance has for itself. */
export interface Place {
  /** Absolute; holds its configuration, its data and `log`, all that it prints. Removed after its end. */
  readonly folder: string;
  /** Of 127.0.0.1. */
  readonly port: number;
  /** 32 hexadecimal digits, the password of those that ask for one: other users of the machine are kept out. */
  readonly secret: string;
}

/** A command line. */
export interface Launch {
  readonly program: string;
  readonly args: readonly string[];
  /** On top of a bare environment. */
  readonly env?: Readonly<Record<string, string>>;
}

/** How a service comes to a machine, and how it is run there. */
export interface Service {
  readonly name: ServiceName;
  /** Of the environment: names a running one that the tests are to use. Without one each test starts its own. */
  readonly variable?: `TINTYPE_TEST_${string}_URL`;
  /** What ends it, with all its children and whatever it is doing. Its data outlives nothing. */
  readonly endedBy: "KILL" | "TERM";
  /** @returns its program, an absolute path; undefined if it is not installed. */
  find(): Promise<string | undefined>;
  /**
   * Installs it, unless it is installed. May be run by several at once, and be killed.
   * @throws with a message that says what is missing and how to get it.
   */
  install(): Promise<void>;
  /** Writes what it reads at its start. @returns how it is started at this place, then and any number of times after. */
  prepare(program: string, place: Place): Promise<Launch>;
  /** Whether it is ready for clients; may also throw when it is not. */
  answers(place: Place): Promise<boolean>;
  /** As clients, and its variable, want it. */
  url(place: Place): string;
}
