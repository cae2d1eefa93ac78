# Two commands on a fresh machine: `make demo` does the main job on a sample, `make test` passes every test.
# Each target is a thin name for a nox session; noxfile.py says what it runs.
PYTHON ?= python3
VENV := .venv
NOX := PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(VENV)/bin/nox --no-venv --force-color -f noxfile.py -s

.PHONY: demo test unit playbooks lint sanity docs molecule faults clean

demo: $(VENV)/.demo
	$(NOX) demo

test: $(VENV)/.tools
	@bash tests/support/test.sh

unit playbooks lint sanity docs molecule faults: $(VENV)/.tools
	$(NOX) $@

# A Debian python3 comes without ensurepip: install it where we may, else say what is missing.
$(VENV)/bin/pip:
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 \
	  || { rm -rf $(VENV); [ "$$(id -u)" = 0 ] && apt-get update -q && apt-get install -y -q python3-venv && $(PYTHON) -m venv $(VENV); } \
	  || { rm -rf $(VENV); echo "Python's venv is missing. Install it first, for example: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/.demo: $(VENV)/bin/pip
	$(VENV)/bin/pip install --quiet --disable-pip-version-check nox 'ansible-core>=2.18,<2.22'
	@touch $@

$(VENV)/.tools: tests/requirements.txt $(VENV)/bin/pip
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	@touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) .nox .build .cache demo tests/output
