#!/bin/sh
# Compiles one of Guideway's own crates for fuzzing: cargo calls this in place of the compiler (.ci/fuzz.sh). Dependencies are not
# instrumented: what is looked for is in Guideway, and the build is shorter. Build scripts, for which there is no --target,
# are not instrumented either.
case " $* " in
    # The flag of the sanitizer is one that stable compilers take only when they are told that they may. Unquoted: they are
    # several flags.
    *" --target "*) RUSTC_BOOTSTRAP=1 exec "$@" $FUZZ_FLAGS ;;
esac
exec "$@"
