#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kvshm-gpud's command line: what is refused is told with exit status 64, before anything is opened.
: "${KVSHM_BUILD:=$PWD/build}" "${TMPDIR:=/tmp}"
gpud=$KVSHM_BUILD/kvshm-gpud
. tests/lib/gives.sh
gives_command=("$gpud")

gives 0 'usage: kvshm-gpud' 'help is asked for' --help
gives 0 'kvshm-gpud 0.' 'the version is asked for' --version
gives 64 "unrecognized option '--nope'" 'an unknown option is a usage error' --nope
gives 64 'unexpected argument "word"' 'a word is a usage error' word
gives 64 '--device takes a number from 0 to' 'a device that no machine has is a usage error' --device 999
gives 64 '--deadline takes a number from 1 to 30000, not "0"' 'a copy needs some time' --deadline 0
gives 64 '--mode takes an octal number up to 0777, not "0668"' 'permissions are octal' --mode 0668
gives 64 'no such daemon' 'an instance has a name' --instance ../x
exit $failed
