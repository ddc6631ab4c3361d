// The command line of the comparisons beside this file: --NAME VALUE pairs and files. Without one of `required`, or
// without a file, prints how the program is used and ends it.
export function readOptions(usage, required, defaults = {}) {
  const options = { ...defaults }, files = [];
  for (let args = process.argv.slice(2); args.length; ) {
    const arg = args.shift();
    if (arg.startsWith("--")) options[arg.slice(2)] = args.shift();
    else files.push(arg);
  }
  if (files.length && required.every((name) => options[name])) return { options, files };
  console.error(`usage: ${usage}`);
  process.exit(2);
}
