"""Files with mistakes, each with the exact answer: what users read when they slip.

DIR stands for the directory of the file, KEYS for all keys of an agent, RECIPES for all recipes, READY for all but
`process`.
"""

# ruff: noqa: E501
from __future__ import annotations

BAD: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("an empty file", "", ("1: file: found nothing, expected a mapping with `agents:`",)),
    ("only a comment", "# nothing\n", ("1: file: found nothing, expected a mapping with `agents:`",)),
    ("a list as root", "- a\n- b\n", ("1: file: found a list, expected a mapping with `agents:`",)),
    ("plain text as root", "hello\n", ('1: file: found "hello", expected a mapping with `agents:`',)),
    (
        "no agents",
        "version: 1\n",
        ("1: agents: found nothing, expected a mapping of agents, such as agents: {NAME: {command: [...]}}",),
    ),
    ("agents without a value", "agents:\n", ("1: agents: found nothing, expected a mapping of agents",)),
    ("agents as a list", "agents: [a, b]\n", ("1: agents: found a list, expected a mapping of agents",)),
    (
        "an agent without a value",
        "agents:\n  a:\n",
        ("2: agents.a: found nothing, expected a mapping of keys such as command",),
    ),
    ("a wrong version", "version: 2\nagents: {}\n", ("1: version: found the number 2, expected 1",)),
    ("a version in quotes", 'version: "1"\nagents: {}\n', ('1: version: found "1", expected 1, did you mean 1',)),
    (
        "a top-level slip",
        "agent:\n  a: {command: [x]}\n",
        (
            '1: agent: found the unknown key "agent", expected one of agents, alerts, defaults, include, last_resort, node, templates, version, did you mean agents',
        ),
    ),
    (
        "a reserved top-level key",
        "llm: {}\nagents: {}\n",
        ("1: llm: found the reserved key llm, expected nothing yet: the LLM gateway will come with a later version",),
    ),
    (
        "slips in node",
        "node: {memory: 4g, reserv: 1G}\nagents: {}\n",
        (
            '1: node.memory: found "4g", expected a size such as 500M or 1.5G, at least 32M, did you mean 4G',
            '1: node.reserv: found the unknown key "reserv", expected one of memory, reserve, did you mean reserve',
        ),
    ),
    (
        "a reserve as large as the node",
        "node:\n  memory: 1G\n  reserve: 1000M\nagents: {}\n",
        ("3: node.reserve: found 1G, expected less than memory (1G)",),
    ),
    (
        "a node that is a number",
        "node: 4G\nagents: {}\n",
        ('1: node: found "4G", expected a mapping with memory, reserve',),
    ),
    (
        "a minimum and a start above the limit",
        "agents:\n  a:\n    command: [x]\n    limits: {memory: 1G}\n    memory: {min: 2G,\n      start: 1200M}\n",
        (
            "5: agents.a.memory.min: found min 2G, expected at most limits.memory (1G)",
            "6: agents.a.memory.start: found start 1200M, expected at most limits.memory (1G)",
        ),
    ),
    (
        "ways to ask for memory that nobody can go",
        "agents:\n  a: {command: [x], memory: {ask: SIGKILL}}\n  b: {recipe: node, command: [node, x.js], memory: {ask: SIGUSR1}}\n  c: {command: [x], memory: {ask: 'https://h/'}}\n",
        (
            '2: agents.a.memory.ask: found "SIGKILL", expected SIGUSR1, SIGUSR2, SIGHUP, a URL such as http://HOST:PORT/PATH, or a command',
            "3: agents.b.memory.ask: found SIGUSR1, expected another way: Node opens its debugger on this signal",
            '4: agents.c.memory.ask: found a URL that begins with "https", expected a URL such as http://HOST:PORT/PATH',
        ),
    ),
    (
        "an idle time without an action",
        "agents:\n  a: {command: [x], idle: {after: 5m}}\n  b: {command: [x], idle: {after: 5m, action: sleep}}\n  c: {command: [x], idle: {after: 10ms, action: stop}}\n",
        (
            "2: agents.a.idle.action: found nothing, expected what becomes of it then: freeze or stop",
            '3: agents.b.idle.action: found "sleep", expected freeze, stop or none',
            '4: agents.c.idle.after: found "10ms", expected a duration from 1s to 30d, such as 10s or 1h30m',
        ),
    ),
    (
        "replicas by a queue, with slips",
        "agents:\n  a: {command: [x], replicas: {min: 3, max: 2, per_queue_depth: 10}}\n  b: {command: [x], replicas: {max: 2}}\n  c: {command: [x], replicas: {max: 2, per_queue_depth: 0}}\n  d: {command: [x], replicas: {max: 2, per_queue_depth: 1, mx: 1}}\n",
        (
            "2: agents.a.replicas: found min 3, expected min at most max (2)",
            "3: agents.b.replicas: found a mapping without per_queue_depth, expected the key per_queue_depth",
            "4: agents.c.replicas.per_queue_depth: found the number 0, expected a number above 0: so much of the queue is for one replica",
            '5: agents.d.replicas.mx: found the unknown key "mx", expected one of max, min, per_queue_depth, did you mean max',
        ),
    ),
    (
        "tabs",
        "agents:\n\ta:\n\t\tcommand: [x]\n",
        (
            "2: file: found a tab in the indentation, expected spaces",
            "3: file: found a tab in the indentation, expected spaces",
        ),
    ),
    (
        "an open bracket",
        "agents:\n  a: {command: [x}\n",
        ('2: file: found "a: {command: [x}", expected a comma, or the closing ] or }',),
    ),
    (
        "an open quote",
        "agents:\n  a: {command: 'x}\n",
        ('2: file: found "a: {command: \'x}", expected a closing quote',),
    ),
    (
        "two colons",
        "agents:\n  a: command: x\n",
        (
            '2: file: found "a: command: x", expected one `key: value` a line, equally indented, and text holding `: ` in quotes',
        ),
    ),
    (
        "a dedent",
        "  agents:\n    a: {command: [x]}\nversion: 1\n",
        ('3: file: found "version: 1", expected lines of one mapping equally indented',),
    ),
    (
        "an at sign",
        "agents:\n  a: {command: @x}\n",
        ('2: file: found "a: {command: @x}", expected text that begins with such a character in quotes',),
    ),
    (
        "a bad escape",
        'agents:\n  a: {command: "\\q"}\n',
        ('2: file: found "a: {command: \\"\\\\q\\"}", expected \\\\ for one backslash, or single quotes',),
    ),
    (
        "a NUL byte",
        "agents:\n  a: {command: [x\x00y]}\n",
        ("2: file: found the character \\x00, expected printable text",),
    ),
    (
        "an escaped NUL",
        'agents:\n  a: {command: ["x\\0y"]}\n',
        ("2: agents.a.command.0: found a NUL character, expected text",),
    ),
    (
        "half a surrogate pair",
        'agents:\n  a: {command: ["\\ud800"]}\n',
        ('2: file: found "a: {command: [\\"\\\\ud800\\"]}", expected \\\\ for one backslash, or single quotes',),
    ),
    (
        "two documents",
        "agents: {}\n---\nagents: {}\n",
        ("2: file: found a second document, expected one document in the file",),
    ),
    (
        "a python tag",
        "agents:\n  a: {command: !!python/object/apply:os.system [x]}\n",
        (
            '2: agents.a: found the tag "tag:yaml.org,2002:python/object/apply:os.system", expected a value without a tag',
        ),
    ),
    (
        "an alias without anchor",
        "agents:\n  a: *b\n",
        ("2: agents: found the alias *b, expected an anchor &b above it",),
    ),
    (
        "an anchor inside itself",
        "agents: &a\n  b: *a\n",
        ("2: agents: found the alias *a inside its own anchor, expected an anchor that ends before its alias",),
    ),
    (
        "a merge of text",
        "agents:\n  a:\n    <<: x\n    command: [y]\n",
        ('3: agents.a: found "x" to merge, expected a mapping such as <<: *name',),
    ),
    (
        "an alias bomb",
        "x-a: &a [0,0,0,0,0,0,0,0,0,0]\nx-b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nx-c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nx-d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\nagents: {}\n",
        ("4: x-d: found aliases that stand for more than 10000 values, expected fewer or smaller aliases",),
    ),
    (
        "deep nesting",
        "x-a: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\nagents: {}\n",
        ("1: file: found nesting deeper than 32 levels, expected a flatter file",),
    ),
    (
        "the same key twice",
        "agents:\n  a:\n    command: [x]\n    priority: 1\n    command: [y]\n",
        ("5: agents.a.command: found the key again (first in line 3), expected each key once",),
    ),
    (
        "the same agent twice",
        "agents:\n  a: {command: [x]}\n  a: {command: [y]}\n",
        ("3: agents.a: found the key again (first in line 2), expected each key once",),
    ),
    (
        "a list as key",
        "agents:\n  ? [a]\n  : {command: [x]}\n",
        ("2: agents: found a list as a key, expected a word as a key",),
    ),
    (
        "a boolean as name",
        "agents:\n  on: {command: [x]}\n",
        ('2: agents.on: found the boolean on as a key, expected a word, in quotes, did you mean "on"',),
    ),
    (
        "a path as name",
        "agents:\n  ../x: {command: [x]}\n  a/b: {command: [x]}\n",
        (
            '2: agents.../x: found the name "../x", expected a name of a-z, 0-9 and -, at most 63 characters, did you mean x',
            '3: agents.a/b: found the name "a/b", expected a name of a-z, 0-9 and -, at most 63 characters, did you mean a-b',
        ),
    ),
    (
        "a name that is no label",
        "agents:\n  My_Agent: {command: [x]}\n  -a: {command: [x]}\n",
        (
            '2: agents.My_Agent: found the name "My_Agent", expected a name of a-z, 0-9 and -, at most 63 characters, did you mean my-agent',
            '3: agents.-a: found the name "-a", expected a name of a-z, 0-9 and -, at most 63 characters, did you mean a',
        ),
    ),
    (
        "a name that is too long",
        "agents:\n  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: {command: [x]}\n",
        (
            '2: agents.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: found the name "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...", expected a name of a-z, 0-9 and -, at most 63 characters, did you mean aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',
        ),
    ),
    (
        "an unknown key",
        "agents:\n  a: {comand: [x]}\n",
        ('2: agents.a.comand: found the unknown key "comand", expected one of KEYS, did you mean command',),
    ),
    (
        "no command",
        "agents:\n  a: {priority: 5}\n",
        ("2: agents.a: found no command, expected command: [PROGRAM, ...], or recipe: with one of READY",),
    ),
    (
        "an empty command",
        'agents:\n  a: {command: []}\n  b: {command: ""}\n',
        (
            "2: agents.a.command: found no program to run, expected a list such as [python, loop.py], or one line of text",
            "3: agents.b.command: found no program to run, expected a list such as [python, loop.py], or one line of text",
        ),
    ),
    (
        "a command with a boolean",
        "agents:\n  a: {command: [x, yes, ~]}\n",
        (
            '2: agents.a.command.1: found the boolean yes, expected text, did you mean "yes"',
            "2: agents.a.command.2: found nothing, expected text",
        ),
    ),
    (
        "a command with a list",
        "agents:\n  a: {command: [x, [y]]}\n",
        ("2: agents.a.command.1: found a list, expected text",),
    ),
    (
        "a command for a shell",
        "agents:\n  a: {command: cd x && ./y}\n",
        (
            '2: agents.a.command: found "cd x && ./y", expected one program: no shell reads this line, did you mean [sh, -c, "cd x && ./y"]',
        ),
    ),
    (
        "a command with an open quote",
        'agents:\n  a: {command: "x \'y"}\n',
        ('2: agents.a.command: found "x \'y", expected a closing quote in the command',),
    ),
    (
        "booleans in env",
        "agents:\n  a: {command: [x], env: {DEBUG: yes, NO: 1, EMPTY: }}\n",
        (
            '2: agents.a.env.NO: found the boolean NO as a key, expected a word, in quotes, did you mean "NO"',
            '2: agents.a.env.DEBUG: found the boolean yes, expected text, did you mean "yes"',
            "2: agents.a.env.EMPTY: found nothing, expected text",
        ),
    ),
    (
        "env as a list",
        "agents:\n  a: {command: [x], env: [A=1]}\n",
        ("2: agents.a.env: found a list, expected a mapping of names to text",),
    ),
    (
        "names in env",
        "agents:\n  a: {command: [x], env: {A-B: x, HOLDFAST_INSTANCE: x, a.b: x}}\n",
        (
            '2: agents.a.env.A-B: found the name "A-B", expected a name of A-Z, a-z, 0-9 and _',
            "2: agents.a.env.HOLDFAST_INSTANCE: found the name HOLDFAST_INSTANCE, expected another name: Holdfast sets this one itself",
            '2: agents.a.env.a.b: found the name "a.b", expected a name of A-Z, a-z, 0-9 and _',
        ),
    ),
    (
        "a missing env file",
        "agents:\n  a: {command: [x], env_file: no.env}\n",
        ('2: agents.a.env_file: found no file "DIR/no.env", expected an env file that exists',),
    ),
    (
        "an unknown user name",
        'agents:\n  a: {command: [x], user: "a b"}\n',
        ('2: agents.a.user: found "a b", expected the name or number of a user',),
    ),
    (
        "a boolean as user",
        "agents:\n  a: {command: [x], user: no}\n",
        ("2: agents.a.user: found the boolean no, expected the name or number of a user",),
    ),
    (
        "a priority out of range",
        "agents:\n  a: {command: [x], priority: 5000}\n  b: {command: [x], priority: high}\n",
        (
            "2: agents.a.priority: found the number 5000, expected a whole number from 0 to 1000",
            '3: agents.b.priority: found "high", expected a whole number from 0 to 1000',
        ),
    ),
    (
        "once as text",
        'agents:\n  a: {command: [x], once: "yes"}\n',
        ('2: agents.a.once: found "yes", expected true or false, did you mean true',),
    ),
    (
        "a memory slip",
        "agents:\n  a: {command: [x], limits: {memory: 500m}}\n  b: {command: [x], limits: {memory: 500}}\n  c: {command: [x], limits: {memory: lots}}\n",
        (
            '2: agents.a.limits.memory: found "500m", expected a size such as 500M or 1.5G, at least 1M, or none, did you mean 500M',
            "3: agents.b.limits.memory: found the number 500, expected a size such as 500M or 1.5G, at least 1M, or none, did you mean 500M",
            '4: agents.c.limits.memory: found "lots", expected a size such as 500M or 1.5G, at least 1M, or none',
        ),
    ),
    (
        "a cpu slip",
        "agents:\n  a: {command: [x], limits: {cpus: 500m, pids: 0, nofile: many}}\n",
        (
            '2: agents.a.limits.cpus: found "500m", expected a number of cores such as 0.5, from 0.01 to 4096, or none, did you mean 0.5',
            "2: agents.a.limits.pids: found the number 0, expected a whole number from 1 to 4194304",
            '2: agents.a.limits.nofile: found "many", expected a whole number from 16 to 1073741816',
        ),
    ),
    (
        "an unknown limit",
        "agents:\n  a: {command: [x], limits: {ram: 500M}}\n",
        ('2: agents.a.limits.ram: found the unknown key "ram", expected one of cpus, memory, nofile, pids',),
    ),
    (
        "limits as text",
        "agents:\n  a: {command: [x], limits: 500M}\n",
        ('2: agents.a.limits: found "500M", expected a mapping with cpus, memory, nofile, pids',),
    ),
    (
        "a duration slip",
        "agents:\n  a: {command: [x], stop: {grace: 10 seconds}, restart: {window: -5m, retry: 2h}}\n",
        (
            '2: agents.a.stop.grace: found "10 seconds", expected a duration from 0s to 30d, such as 10s or 1h30m, did you mean 10s',
            '2: agents.a.restart.window: found "-5m", expected a duration from 1s to 30d, such as 10s or 1h30m',
            '2: agents.a.restart.retry: found "2h", expected a duration from 1s to 1h, such as 10s or 1h30m',
        ),
    ),
    (
        "a sexagesimal duration",
        "agents:\n  a: {command: [x], stop: {grace: 1:30}}\n",
        ("2: agents.a.stop.grace: found the number 1:30, expected a duration from 0s to 30d, such as 10s or 1h30m",),
    ),
    (
        "a backoff that is no list",
        "agents:\n  a: {command: [x], restart: {backoff: 10s}}\n",
        ('2: agents.a.restart.backoff: found "10s", expected a list of 1 to 10 durations, such as [0s, 10s, 60s]',),
    ),
    (
        "a wrong backoff",
        "agents:\n  a: {command: [x], restart: {backoff: [0s, soon]}}\n",
        ('2: agents.a.restart.backoff.1: found "soon", expected a duration from 0s to 30d, such as 10s or 1h30m',),
    ),
    (
        "an unknown signal",
        "agents:\n  a: {command: [x], stop: {signal: SIGTREM}}\n  b: {command: [x], stop: {signal: 15}}\n",
        (
            '2: agents.a.stop.signal: found "SIGTREM", expected one of TERM, INT, HUP, QUIT, USR1, USR2, ALRM, WINCH, ABRT, KILL, did you mean TERM',
            "3: agents.b.stop.signal: found the number 15, expected one of TERM, INT, HUP, QUIT, USR1, USR2, ALRM, WINCH, ABRT, KILL, did you mean TERM",
        ),
    ),
    (
        "a health URL without scheme",
        'agents:\n  a: {command: [x], health: {http: "127.0.0.1:8080/health"}}\n',
        (
            '2: agents.a.health.http: found "127.0.0.1:8080/health", expected a URL such as http://HOST:PORT/PATH, did you mean http://127.0.0.1:8080/health',
        ),
    ),
    (
        "an https probe",
        "agents:\n  a: {command: [x], health: {http: https://x/health}}\n",
        (
            '2: agents.a.health.http: found a URL that begins with "https", expected a URL such as http://HOST:PORT/PATH',
        ),
    ),
    (
        "a wrong port",
        'agents:\n  a: {command: [x], health: {http: "http://x:99999/"}}\n',
        ("2: agents.a.health.http: found a URL that cannot be read, expected a URL such as http://HOST:PORT/PATH",),
    ),
    (
        "a probe mapping without url",
        "agents:\n  a: {command: [x], health: {http: {expect: {a: 1}}}}\n",
        ("2: agents.a.health.http: found a mapping without url, expected url: http://...",),
    ),
    (
        "a probe that expects a list",
        'agents:\n  a: {command: [x], health: {http: {url: "http://x/", expect: {a: [1]}, body: x}}}\n',
        (
            "2: agents.a.health.http.expect.a: found a list, expected text, a number, true or false",
            '2: agents.a.health.http.body: found the unknown key "body", expected one of expect, url',
        ),
    ),
    (
        "a timeout beyond the interval",
        'agents:\n  a: {command: [x], health: {http: "http://x/", interval: 1s, timeout: 5s}}\n',
        ("2: agents.a.health.timeout: found a timeout of 5s, expected at most the interval (1s)",),
    ),
    (
        "keys of later versions",
        "agents:\n  a: {command: [x], schedules: [], probation: {config: 60s}}\n",
        (
            "2: agents.a.schedules: found the reserved key schedules, expected nothing yet: schedules will come with a later version",
            "2: agents.a.probation: found the reserved key probation, expected nothing yet: probation of changes will come with a later version",
        ),
    ),
    (
        "a wrong exit code",
        "agents:\n  a: {command: [x], exit_codes: {300: x, 78: 5, SIGABORT: x}}\n",
        (
            '2: agents.a.exit_codes.300: found "300", expected an exit code from 0 to 255 or a signal such as SIGABRT',
            '2: agents.a.exit_codes.78: found the number 5, expected text, did you mean "5"',
            '2: agents.a.exit_codes.SIGABORT: found "SIGABORT", expected an exit code from 0 to 255 or a signal such as SIGABRT, did you mean SIGABRT',
        ),
    ),
    (
        "an unknown recipe",
        "agents:\n  a: {recipe: openclw}\n",
        ('2: agents.a.recipe: found the recipe "openclw", expected one of RECIPES, did you mean openclaw',),
    ),
    (
        "a block of another recipe",
        "agents:\n  a: {command: [x], openclaw: {port: 1}}\n",
        (
            "2: agents.a.openclaw.port: found a key of recipe openclaw in an agent of recipe process, expected recipe: openclaw",
        ),
    ),
    (
        "a recipe without its keys",
        "agents:\n  a: {recipe: openclaw}\n  b: {recipe: hermes}\n",
        (
            "2: agents.a.openclaw.state_dir: found no ~/.openclaw, expected a configured OpenClaw: openclaw onboard --mode local; or state_dir: DIR, where its openclaw.json is",
            "2: agents.a.openclaw.install: found no program openclaw on PATH, expected an installed OpenClaw: npm install -g openclaw@2026.9.6; or install: DIR, where npm installed it",
            "3: agents.b.hermes.home: found no ~/.hermes, expected a configured Hermes: hermes setup; or home: DIR, which holds config.yaml and .env",
            "3: agents.b.hermes.venv: found no program hermes on PATH, expected an installed Hermes: python3 -m venv DIR && DIR/bin/pip install hermes-agent==0.19.0 aiohttp, then venv: DIR",
        ),
    ),
    (
        "an unknown option",
        "agents:\n  a: {recipe: hermes, hermes: {hom: x, port: 0}}\n",
        (
            '2: agents.a.hermes.hom: found the unknown key "hom", expected one of home, port, venv, did you mean home',
            "2: agents.a.hermes.port: found the number 0, expected a whole number from 1 to 65535",
            "2: agents.a.hermes.home: found no ~/.hermes, expected a configured Hermes: hermes setup; or home: DIR, which holds config.yaml and .env",
            "2: agents.a.hermes.venv: found no program hermes on PATH, expected an installed Hermes: python3 -m venv DIR && DIR/bin/pip install hermes-agent==0.19.0 aiohttp, then venv: DIR",
        ),
    ),
    (
        "an unknown template",
        "templates: {worker: {command: [x]}}\nagents:\n  a: {template: wroker}\n",
        ('3: agents.a.template: found the template "wroker", expected one of worker, did you mean worker',),
    ),
    (
        "no templates at all",
        "agents:\n  a: {template: worker}\n",
        ('2: agents.a.template: found the template "worker", expected a template under templates:',),
    ),
    (
        "a template with a mistake",
        "templates:\n  w:\n    command: [x]\n    limits: {memory: 5 apples}\nagents:\n  a: {template: w}\n  b: {template: w}\n",
        ('4: templates.w.limits.memory: found "5 apples", expected a size such as 500M or 1.5G, at least 1M, or none',),
    ),
    (
        "a command in defaults",
        "defaults: {command: [x]}\nagents: {}\n",
        ("1: defaults.command: found the key command, expected this key in an agent, not here",),
    ),
    (
        "a template in a template",
        "templates: {a: {template: b}}\nagents: {}\n",
        ("1: templates.a.template: found the key template, expected this key in an agent, not here",),
    ),
    (
        "replicas that meet another agent",
        "agents:\n  a: {command: [x], replicas: 2}\n  a-1: {command: [x]}\n",
        ("3: agents.a-1: found the agent a-1 again (first in line 2), expected each name once, replicas included",),
    ),
    (
        "replicas of OpenClaw",
        "agents:\n  a: {recipe: openclaw, replicas: 2, command: [x], openclaw: {state_dir: s}}\n",
        (
            "2: agents.a.replicas: found 2 replicas, expected agents of their own: openclaw agents cannot share a port and a state directory",
        ),
    ),
    (
        "too many replicas",
        "agents:\n  a: {command: [x], replicas: 5000}\n",
        ("2: agents.a.replicas: found the number 5000, expected a whole number from 1 to 1000",),
    ),
    (
        "alerts as a mapping",
        "alerts: {webhook: http://x/}\nagents: {}\n",
        ("1: alerts: found a mapping, expected a list such as [{webhook: URL}]",),
    ),
    (
        "wrong alerts",
        "alerts:\n  - {webhook: ftp://x/secret}\n  - {webhok: http://x/}\n  - {command: [x], ntfy: http://x/}\n  - x\nagents: {}\n",
        (
            '2: alerts.0.webhook: found a URL that begins with "ftp", expected a URL such as https://HOST:PORT/PATH',
            '3: alerts.1.webhok: found the unknown key "webhok", expected one of command, ntfy, webhook, did you mean webhook',
            "4: alerts.2: found a mapping, expected one of command: [...], webhook: URL, ntfy: URL",
            '5: alerts.3: found "x", expected one of command: [...], webhook: URL, ntfy: URL',
        ),
    ),
    (
        "a wrong last resort",
        "last_resort: true\nagents: {}\n",
        ("1: last_resort: found the boolean true, expected a list such as [python, loop.py], or one line of text",),
    ),
    (
        "a date as text",
        "agents:\n  a: {command: [x], working_dir: 2024-01-01}\n",
        ('2: agents.a.working_dir: found the date 2024-01-01, expected a path, did you mean "2024-01-01"',),
    ),
    (
        "a signal OpenClaw must not get",
        "agents:\n  a: {recipe: openclaw, command: [x], openclaw: {state_dir: s}, stop: {signal: HUP}}\n",
        (
            "2: agents.a.stop.signal: found HUP, expected another signal: OpenClaw dies at once on HUP, without finishing its work",
        ),
    ),
    (
        "a secret beside a slip",
        "agents:\n  a: {command: [x]\n  env: {API_KEY: hunter2}}\n",
        ('3: file: found "env: {API_KEY: ***", expected a comma, or the closing ] or }',),
    ),
    (
        "a number in quotes",
        'agents:\n  a: {command: [x], priority: "7"}\n',
        ('2: agents.a.priority: found "7", expected a whole number from 0 to 1000, did you mean 7',),
    ),
    (
        "a group that is empty",
        "agents:\n  a: {command: [x], limits: , env: }\n",
        (
            "2: agents.a.limits: found nothing, expected a mapping with cpus, memory, nofile, pids",
            "2: agents.a.env: found nothing, expected a mapping of names to text",
        ),
    ),
    (
        "a tilde as path",
        "agents:\n  a: {command: [x], working_dir: ~}\n",
        ("2: agents.a.working_dir: found nothing, expected a path",),
    ),
    (
        "labels with a list",
        "agents:\n  a: {command: [x], labels: {team: [a]}}\n",
        ("2: agents.a.labels.team: found a list, expected text",),
    ),
    (
        "notify as text",
        "agents:\n  a: {command: [x], notify: systemd}\n",
        ('2: agents.a.notify: found "systemd", expected true or false',),
    ),
)
