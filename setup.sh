# Sets up TREASURE in the current shell: source setup.sh   (bash or zsh)
#
# Makes .venv beside this file, installs the project with the exact versions of constraints.txt,
# indexes the law tasks, switches on completion, and sets TREASURE_STORE, where results go. Sourced
# again, it only sets up the shell. After a failed install, source it again.

_treasure_setup() {
    local home="$1" venv="$1/.venv" log="$1/.venv/install.log"
    local wanted="" python="" candidate=""

    wanted="$(cat "${home}/pyproject.toml" "${home}/constraints.txt" "${home}/setup.sh" | cksum) ${home}"
    if [ "$(cat "${venv}/.installed" 2>/dev/null)" != "${wanted}" ] \
        || [ ! -x "${venv}/bin/python" ] || ! "${venv}/bin/python" -c "" 2>/dev/null; then

        for candidate in "${TREASURE_PYTHON:-}" python3.11 python3.12 python3.13 python3; do
            [ -n "${candidate}" ] || continue
            if command -v "${candidate}" >/dev/null 2>&1 && env -u PYTHONHOME -u PYTHONPATH \
                "${candidate}" -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null; then
                python="${candidate}"
                break
            fi
        done
        if [ -z "${python}" ]; then
            echo "setup.sh: no Python 3.11 or newer found. Install it (Debian: apt-get install" \
                "python3 python3-venv) or set TREASURE_PYTHON to it, and source setup.sh again." >&2
            return 1
        fi

        echo "setup.sh: installing into ${venv} (once, some minutes; log: ${log})"
        rm -f "${venv}/.installed"
        if [ ! -x "${venv}/bin/pip" ] || ! "${venv}/bin/python" -c "import pip" 2>/dev/null; then
            if ! env -u PYTHONHOME -u PYTHONPATH "${python}" -m venv --clear "${venv}"; then
                echo "setup.sh: could not make ${venv} with ${python} -m venv (Debian: apt-get" \
                    "install python3-venv). Then source setup.sh again." >&2
                rm -rf "${venv}"
                return 1
            fi
        fi
        if ! env -u PYTHONHOME -u PYTHONPATH -u PIP_TARGET -u PIP_PREFIX -u PIP_REQUIREMENT PIP_USER=0 \
            "${venv}/bin/python" -m pip install --disable-pip-version-check --no-input \
            --constraint "${home}/constraints.txt" --editable "${home}[test]" >"${log}" 2>&1; then
            echo "setup.sh: the installation failed:" >&2
            grep -v '^[[:space:]]*$' "${log}" | tail -n 10 >&2
            echo "setup.sh: the whole log is ${log}. Mend what it says and source setup.sh again." >&2
            return 1
        fi
    fi

    # a default of another clone, sourced earlier in this shell, is not the user's choice
    [ "${TREASURE_STORE:-}" = "${TREASURE_HOME:-}/data" ] && unset TREASURE_STORE
    export TREASURE_HOME="${home}"
    export TREASURE_STORE="${TREASURE_STORE:-${home}/data}"
    export LAW_HOME="${home}/.law"
    export LAW_CONFIG_FILE="${home}/law.cfg"
    unset PYTHONHOME PYTHONPATH
    . "${venv}/bin/activate" || return 1

    if [ "$(cat "${venv}/.installed" 2>/dev/null)" != "${wanted}" ]; then
        if ! law index --quiet >>"${log}" 2>&1; then
            echo "setup.sh: 'law index' failed: the whole log is ${log}" >&2
            return 1
        fi
        law completion >"${venv}/completion.law"
        _TREASURE_COMPLETE=source_bash treasure >"${venv}/completion.bash" 2>/dev/null
        _TREASURE_COMPLETE=source_zsh treasure >"${venv}/completion.zsh" 2>/dev/null
        echo "${wanted}" >"${venv}/.installed"
        echo "setup.sh: ready. Try: law run BenchmarkTopTagging --version v1"
    fi
    return 0
}

_treasure_complete() {
    case "$-" in *i*) ;; *) return 0 ;; esac
    . "$(cat "${TREASURE_HOME}/.venv/completion.law")"
    if [ -n "${ZSH_VERSION:-}" ]; then
        . "${TREASURE_HOME}/.venv/completion.zsh"
    else
        . "${TREASURE_HOME}/.venv/completion.bash"
    fi
    return 0
}

if [ -n "${ZSH_VERSION:-}" ]; then
    # in an eval: other shells cannot parse it
    _treasure_file="$(eval 'print -r -- "${(%):-%x}"')"
else
    _treasure_file="${BASH_SOURCE[0]:-$0}"
fi
_treasure_home="$(cd "$(dirname "${_treasure_file}")" >/dev/null 2>&1 && pwd -P)"

_treasure_setup "${_treasure_home}" && { _treasure_complete 2>/dev/null || true; }
_treasure_status=$?
unset _treasure_file _treasure_home
unset -f _treasure_setup _treasure_complete
if [ "${_treasure_status}" -eq 0 ]; then unset _treasure_status; true; else unset _treasure_status; false; fi
