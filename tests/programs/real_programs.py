"""Real programs that run under hakmem: the list, as data, and how one of them is run and checked.

tests/programs_test.py runs each with little to do, tests/compatibility with more and prints a table. A program is a bash
script with `$UNDER` before each command that is to run under the library. What the script prints must be the same
without and with; what a server logs goes to a file *.log, where hakmem must not have said anything.

Variables of a script: UNDER, N (how much to do), PORT (free), INPUT (the folder that `prepare` filled, once), SOURCE
(this repository); it starts in an empty folder of its own.
"""

import contextlib
import dataclasses
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness  # noqa: E402  pylint: disable=wrong-import-position

MEASURE = harness.BUILD / "tests" / "programs" / "measure"
PRODUCTION = "production"
VARIANTS = [PRODUCTION, *harness.LEVELS]
# A healthy program next to never asks mincore; a program with fewer frees than this is too short for a share to mean much.
FREES_FOR_A_SHARE = 200_000


@dataclasses.dataclass(frozen=True)
class Program:
    name: str
    package: str
    what: str  # language, and what is special about it
    script: str
    needs: tuple = ()  # executables, beside one of the program's name
    prepare: str = ""  # run once, without the library
    size: tuple = (20_000, 200_000)  # N in the test and in the command
    variants: tuple = tuple(VARIANTS)  # those of the test; the command runs all
    user: str = ""  # as root, the program runs as this user
    tested_apart: bool = False  # programs_test.py has a closer test of it

    def missing(self):
        return [need for need in self.needs or (self.name,) if shutil.which(need, path=PATH) is None]


PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HEAVY = (PRODUCTION, "count")

# Lines of text that compress, sort and match somewhat.
TEXT = "mawk -v n=$N 'BEGIN { for (i = 0; i < n; i++) print \"line \" (i * 7919) % 10007 \" of \" i }' > $INPUT/text\n"

MEMCACHED_LOAD = """
import hashlib, os, socket
connection = socket.create_connection(("127.0.0.1", int(os.environ["PORT"])))
answers, hashed = connection.makefile("rb"), hashlib.sha256()
count = int(os.environ["N"])
for first in range(0, count, 500):
    keys = range(first, first + 500)
    connection.sendall(b"".join(b"set k%d 0 0 %d\\r\\n%s\\r\\n" % (k, k * 7919 % 3000, b"v" * (k * 7919 % 3000)) for k in keys))
    assert all(answers.readline() == b"STORED\\r\\n" for _ in keys)
    connection.sendall(b"".join(b"get k%d\\r\\n" % k for k in keys))
    for _ in keys:
        hashed.update(answers.readline())
        hashed.update(answers.readline())
        assert answers.readline() == b"END\\r\\n"
print(hashed.hexdigest())
"""

NGINX_CONFIGURATION = """
daemon off; worker_processes 2; pid nginx.pid; error_log error.log;
events { worker_connections 256; }
http {
    access_log access.log; gzip on; gzip_min_length 1; gzip_types *;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    server {
        listen 127.0.0.1:PORT;
        location / { root .; ssi on; }
        location /again/ { proxy_pass http://127.0.0.1:PORT/; }
    }
}
"""

JAVA_DEMO = """
import java.util.*; import java.util.stream.*; import java.util.zip.*;
public class Demo {
    public static void main(String[] arguments) throws Exception {
        int n = Integer.parseInt(arguments[0]);
        List<Thread> threads = new ArrayList<>();
        long[] sums = new long[8];
        for (int t = 0; t < 8; ++t) {
            final int id = t;
            threads.add(new Thread(() -> {
                Map<String, Integer> map = new HashMap<>();
                for (int i = 0; i < n; ++i) map.merge("key " + (i * 7919L + id) % 1009, i, Integer::sum);
                sums[id] = map.values().stream().mapToLong(Integer::longValue).sum();
            }));
        }
        for (Thread thread : threads) thread.start();
        for (Thread thread : threads) thread.join();
        Deflater deflater = new Deflater();
        deflater.setInput(Arrays.toString(sums).repeat(1000).getBytes());
        deflater.finish();
        byte[] out = new byte[1 << 20];
        System.out.println(Arrays.toString(sums) + " " + deflater.deflate(out));
        deflater.end();
        java.nio.ByteBuffer direct = java.nio.ByteBuffer.allocateDirect(1 << 20);
        System.out.println(direct.capacity());
    }
}
"""

CGO_DEMO = """
package main

/*
#include <stdlib.h>
#include <string.h>
static char *fill(size_t bytes, int value) { char *block = malloc(bytes); memset(block, value, bytes); return block; }
static int check(const char *block, size_t bytes, int value) {
    for (size_t i = 0; i < bytes; ++i) if (block[i] != (char)value) return 1;
    return 0;
}
*/
import "C"

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"unsafe"
)

type block struct {
	memory *C.char
	bytes  int
	value  int
}

func main() {
	n, _ := strconv.Atoi(os.Args[1])
	var group sync.WaitGroup
	passed := make(chan block, 256)
	wrong := make(chan int, 64)
	for g := 0; g < 32; g++ {
		group.Add(1)
		go func(g int) {
			defer group.Done()
			for i := 0; i < n/32; i++ {
				bytes, value := (i*7919+g)%3000+1, (i+g)%256
				passed <- block{C.fill(C.size_t(bytes), C.int(value)), bytes, value}
			}
		}(g)
	}
	go func() { group.Wait(); close(passed) }()
	var readers sync.WaitGroup
	for r := 0; r < 16; r++ {
		readers.Add(1)
		go func() {
			defer readers.Done()
			sum := 0
			for b := range passed {
				sum += int(C.check(b.memory, C.size_t(b.bytes), C.int(b.value)))
				C.free(unsafe.Pointer(b.memory))
			}
			wrong <- sum
		}()
	}
	readers.Wait()
	close(wrong)
	total := 0
	for w := range wrong {
		total += w
	}
	fmt.Println("wrong:", total)
}
"""

BIG_CXX = """
{ echo '#include <bits/stdc++.h>'
  for ((i = 0; i < N; i++)); do
      echo "struct S$i { std::map<std::string, std::vector<int>> m; auto f(int n) { m[std::to_string(n)].push_back($i);
            std::vector<std::pair<int, std::string>> v; for (auto &[k, w] : m) v.emplace_back(w.size(), k);
            std::sort(v.begin(), v.end()); return v; } };"
      echo "std::size_t use$i(int n) { return S$i().f(n).size(); }"
  done; } > $INPUT/big.cpp
"""

NINJA_FILE = """
mkdir $INPUT/n
{ echo 'rule copy'; echo '  command = cat $in > $out'
  echo "build out0: copy $INPUT/n/seed"
  for ((i = 1; i < N; i++)); do echo "build out$i: copy out$(((i - 1) / 2)) $INPUT/n/seed"; done; } > $INPUT/n/build.ninja
echo seed > $INPUT/n/seed
"""

POSTSCRIPT = """
{ echo '%!PS'
  echo "0 1 $N { /i exch def /Times-Roman findfont i 40 mod 6 add scalefont setfont i 7 mul 500 mod i 13 mul 700 mod moveto
        (text ) show i 10 string cvs show i 255 mod 255 div setgray } for showpage"; } > $INPUT/page.ps
"""

# Ends the server when the script ends, however that is.
SERVER_ENDS = "server=$!; trap 'kill $server 2> /dev/null || true; wait $server || true' EXIT\n"

PROGRAMS = [
    # Servers
    Program("redis", "redis-server", "C, threads of its own", needs=("redis-server", "redis-benchmark", "redis-cli"),
            size=(20_000, 300_000), tested_apart=True, script="""
        $UNDER redis-server --port $PORT --bind 127.0.0.1 --save '' --appendonly no > redis.log & """ + SERVER_ENDS + """
        until redis-cli -p $PORT ping > /dev/null 2>&1; do sleep 0.05; done
        redis-benchmark -p $PORT -n $N -r 20000 -d 200 -q -t set,get,lpush,lpop,sadd,hset > load.txt
        redis-cli -p $PORT info commandstats | grep -oE 'cmdstat_(set|get|lpush|lpop|sadd|hset):calls=[0-9]+' | sort
        redis-cli -p $PORT shutdown nosave; wait $server"""),
    Program("memcached", "memcached", "C, threads", size=(5_000, 100_000), script="""
        $UNDER memcached -u $(id -un) -l 127.0.0.1 -p $PORT -U 0 -t 4 -m 64 2> memcached.log & """ + SERVER_ENDS + """
        until (: < /dev/tcp/127.0.0.1/$PORT) 2> /dev/null; do sleep 0.05; done
        python3 -c '""" + MEMCACHED_LOAD + """'
        kill $server; wait $server"""),
    Program("nginx", "nginx-light", "C, forks workers, is reloaded", needs=("nginx", "curl"), size=(500, 20_000), script="""
        sed "s/PORT/$PORT/" > nginx.conf << 'END'
""" + NGINX_CONFIGURATION + """
END
        for i in {1..200}; do echo "<p>part $i</p>"; done > part.html
        for i in {1..5}; do echo '<!--#include virtual="/part.html" -->'; done > page.html
        $UNDER nginx -p $PWD/ -c nginx.conf -e error.log -g "user $(id -un);" 2> nginx.log & """ + SERVER_ENDS + """
        until (: < /dev/tcp/127.0.0.1/$PORT) 2> /dev/null; do sleep 0.05; done
        curl -sS --compressed "http://127.0.0.1:$PORT/page.html?[1-$N]" | sha256sum
        kill -HUP $server; sleep 0.3
        curl -sS --compressed "http://127.0.0.1:$PORT/again/page.html?[1-$N]" | sha256sum
        kill -QUIT $server; wait $server"""),
    Program("postgres", "postgresql-15", "C, a process a connection, maps shared memory", needs=("pg_config",),
            size=(150, 5_000), variants=HEAVY, user="postgres", script="""
        PATH=$(pg_config --bindir):$PATH
        $UNDER initdb -D db -A trust -U test --no-sync > initdb.log 2>&1
        $UNDER postgres -D db -k $PWD -p $PORT -c listen_addresses= -c fsync=off > postgres.log 2>&1 & """ + SERVER_ENDS + """
        until pg_isready -q -h $PWD -p $PORT; do sleep 0.1; done
        export PGHOST=$PWD PGPORT=$PORT PGUSER=test PGDATABASE=postgres
        pgbench -i -q -s 1 2> init.log
        pgbench -n -c 4 -j 2 -t $N --random-seed=1 > pgbench.txt 2>&1
        psql -Atq << 'END'
            select count(*) from pgbench_history;
            select sum(abalance) = (select sum(delta) from pgbench_history) from pgbench_accounts;
            select md5(string_agg(md5(i::text), ',' order by i desc)) from generate_series(1, 50000) i;
            create extension if not exists plpgsql;
            do $$ begin for i in 1..200 loop begin raise 'error %', i; exception when others then null; end; end loop; end $$;
END
        kill -INT $server; wait $server"""),
    # Runtimes
    Program("java", "default-jre-headless ecj", "Java: JIT, collector threads; compiles a program and runs it",
            needs=("java", "ecj"), variants=HEAVY, size=(20_000, 2_000_000), script="""
        cat > Demo.java << 'END'
""" + JAVA_DEMO + """
END
        $UNDER java -cp /usr/share/java/eclipse-jdt-core.jar org.eclipse.jdt.internal.compiler.batch.Main -17 -proc:none -d out Demo.java
        sha256sum < out/Demo.class
        $UNDER java -cp out Demo $N"""),
    Program("node", "nodejs", "JavaScript: JIT, worker threads", size=(20_000, 400_000), script="""
        $UNDER node -e 'const a = [], n = +process.env.N; for (let i = 0; i < n; i++) a.push({i, s: `x${i}`});
            a.sort((p, q) => p.s < q.s ? -1 : 1);
            console.log(a[777].s, require("zlib").deflateSync(JSON.stringify(a)).length,
                        require("crypto").createHash("sha256").update(Buffer.alloc(n, 7)).digest("hex"));
            const { Worker } = require("worker_threads");
            for (let i = 0; i < 3; i++) new Worker("require(`worker_threads`).parentPort.postMessage(Buffer.alloc(1e6))",
                { eval: true }).on("message", m => console.log(m.length));'"""),
    Program("python3", "python3", "Python with PYTHONMALLOC=malloc: threads, processes, ctypes", tested_apart=True,
            size=(2_000, 60_000), script="""
        PYTHONMALLOC=malloc $UNDER python3 -c '
import ctypes, hashlib, json, multiprocessing, os, re, threading
n = int(os.environ["N"])
def work(k): return hashlib.sha256(json.dumps([{str(i * k): [i] * (i % 9)} for i in range(n)]).encode()).hexdigest()
threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
print(multiprocessing.Pool(2).map(work, range(4)), len(re.findall("a+b", "aab" * n)))'"""),
    Program("ruby", "ruby", "Ruby: collector, fibers, threads", size=(20_000, 400_000), script="""
        $UNDER ruby -rjson -rdigest -rzlib -e 'n = ENV["N"].to_i
            a = (0...n).map { |i| { "k#{i * 7919 % 10007}" => "v" * (i % 50) } }
            puts Digest::SHA256.hexdigest(a.to_json), Zlib.deflate(a.to_json).size
            GC.start; GC.compact if GC.respond_to?(:compact)
            puts (0...200).map { |i| Fiber.new { Fiber.yield i.to_s * i; i } }.map(&:resume).join.size
            puts 8.times.map { |t| Thread.new { (0...n / 8).map { |i| (i * t).to_s }.join.size } }.map(&:value).inspect
            Process.wait(fork { exit!(GC.count > 0 ? 0 : 1) }); puts $?.exitstatus'"""),
    Program("perl", "perl", "Perl", script="""
        $UNDER perl -ne 'push @{$h{length $_}}, $_; END { print map { scalar(@{$h{$_}}) . " $_\\n" } sort keys %h }' $INPUT/text""",
            prepare=TEXT),
    Program("php", "php-cli", "PHP, without its own allocator", size=(20_000, 400_000), script="""
        USE_ZEND_ALLOC=0 $UNDER php -r '$n = +getenv("N"); $a = []; for ($i = 0; $i < $n; $i++) $a["k" . $i * 7919 % 10007][] = "v$i";
            ksort($a); echo hash("sha256", json_encode($a)), " ", preg_match_all("/v\\d+7/", json_encode($a)), "\\n";'"""),
    Program("lua5.4", "lua5.4", "Lua", size=(20_000, 600_000), script="""
        $UNDER lua5.4 -e 'local t, n = {}, tonumber(os.getenv("N")) for i = 1, n do t[i] = ("x"):rep(i % 60) .. i end
            table.sort(t) print(t[1], t[n], #table.concat(t)) for i = 1, 100 do coroutine.wrap(function() local s = "" for j = 1, 50 do s = s .. j end end)() end'"""),
    Program("go with cgo", "golang-go", "Go: 32 goroutines allocate in C, 16 free", needs=("go", "gcc"), size=(50_000, 3_000_000),
            prepare="""
        mkdir $INPUT/cgo; cd $INPUT/cgo
        cat > main.go << 'END'
""" + CGO_DEMO + """
END
        printf 'module demo\\ngo 1.19\\n' > go.mod
        GOFLAGS=-mod=mod GOCACHE=$INPUT/gocache GOPATH=$INPUT/gopath CGO_ENABLED=1 go build -o demo .""",
            script="$UNDER $INPUT/cgo/demo $N"),
    Program("ripgrep", "ripgrep", "Rust, threads", needs=("rg",), size=(1, 1), script="""
        $UNDER rg -c 'template' /usr/include/c++ | sort | sha256sum"""),
    Program("fd", "fd-find", "Rust, threads", needs=("fdfind",), size=(1, 1), script="""
        $UNDER fdfind -t f -e h . /usr/include | sort | sha256sum"""),
    Program("bash", "bash", "C, forks", size=(20, 400), script="""
        $UNDER bash -c 'for ((i = 0; i < N; i++)); do x=$(echo $i); a[i]=$x$x; done; (IFS=,; echo "${a[*]}")'"""),
    # Compilers and build tools
    Program("gcc", "gcc", "C", size=(200, 4_000), tested_apart=True, script="""
        for ((i = 0; i < N; i++)); do echo "int f$i(int n) { int s = $i; while (n) s += n-- * $i; return s; }"; done > many.c
        $UNDER gcc -O2 -w -c many.c -o many.o; sha256sum < many.o"""),
    Program("g++", "g++", "C++, a large file", size=(5, 150), variants=HEAVY, prepare=BIG_CXX, script="""
        $UNDER g++ -std=c++20 -O1 -w -c $INPUT/big.cpp -o big.o; sha256sum < big.o"""),
    Program("clang", "clang-14", "C++ compiler of LLVM", needs=("clang-14",), size=(2, 60), prepare=BIG_CXX, variants=HEAVY, script="""
        $UNDER clang-14 -std=c++20 -O1 -w -c $INPUT/big.cpp -o big.o; sha256sum < big.o"""),
    Program("cppcheck", "cppcheck", "C++, two processes", size=(1, 8), variants=(PRODUCTION, "trace"), script="""
        $UNDER cppcheck -j2 --quiet --enable=warning --std=c++20 $(ls $SOURCE/src/core/*.cpp | head -n $N) > cppcheck.txt 2>&1
        sort cppcheck.txt"""),
    Program("ninja", "ninja-build", "C++, starts 50 processes at once", size=(60, 1_500), prepare=NINJA_FILE, script="""
        cp $INPUT/n/build.ninja .; $UNDER ninja -j 50 --quiet; cat out* | sha256sum"""),
    Program("cmake", "cmake", "C++, configures a project", size=(1, 1), variants=HEAVY, needs=("cmake", "cc", "make"), script="""
        printf 'cmake_minimum_required(VERSION 3.20)\\nproject(p C)\\nadd_executable(p p.c)\\n' > CMakeLists.txt
        echo 'int main(void) { return 0; }' > p.c
        $UNDER cmake -S . -B build > cmake.txt; $UNDER cmake --build build > build.txt; build/p; echo $?"""),
    Program("make", "make", "C", size=(1, 1), script="""
        echo 'all: ; @echo $(sort $(wildcard /usr/include/*.h) $(shell ls /usr/include))' | $UNDER make -f -"""),
    Program("m4", "m4", "C", size=(200, 2_000), script="""
        echo "define(\\`r', \\`ifelse(\\$1, 0, , \\`\\$1 r(decr(\\$1))')')r($N)" | $UNDER m4"""),
    Program("git", "git", "C, threads in gc", size=(60, 800), tested_apart=True, prepare="""
        cd $INPUT; git init -q r; cd r
        for ((i = 0; i < N; i++)); do seq $i $((i + 300)) > f$((i % 40)); git add -A; git -c user.name=t -c user.email=t@t commit -qm $i; done""",
            script="""
        cp -r $INPUT/r .; $UNDER git -C r -c pack.threads=2 -c gc.autoDetach=false gc --quiet --prune=now
        git -C r fsck --full --strict; git -C r rev-list --objects --all | sha256sum"""),
    Program("gdb", "gdb", "C++ with Python inside", size=(1, 1), variants=(PRODUCTION, "verify"), script="""
        $UNDER gdb -q -nx -batch -ex 'print 6 * 7' -ex 'python print(sum(range(1000)))' -ex 'info functions main' /bin/ls"""),
    # Data
    Program("sqlite3", "sqlite3", "C", size=(20_000, 600_000), tested_apart=True, script="""
        $UNDER sqlite3 -batch orders.db "CREATE TABLE o (id INTEGER PRIMARY KEY, c TEXT, n INTEGER); BEGIN;
            WITH RECURSIVE x(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM x WHERE i < $N)
            INSERT INTO o SELECT i, 'customer ' || (i * 7919 % 10007), i * 31 % 5000 FROM x; COMMIT; CREATE INDEX b ON o (c, n);
            SELECT c, sum(n) FROM o GROUP BY c ORDER BY 2 DESC, 1 LIMIT 20; PRAGMA integrity_check;" """),
    Program("sort", "coreutils", "C, threads", size=(50_000, 2_000_000), tested_apart=True, prepare=TEXT,
            script="$UNDER sort --parallel=2 -k4 $INPUT/text | sha256sum"),
    Program("jq", "jq", "C", size=(3_000, 100_000), prepare="seq $N | sed 's/.*/{\"a\": &, \"b\": [&, \"&\"]}/' > $INPUT/json",
            script="$UNDER jq -c 'select(.a % 7 == 0) | {x: (.b | map(tostring) | join(\"-\"))}' $INPUT/json | sha256sum"),
    Program("xz", "xz-utils", "C, two threads", prepare=TEXT, size=(20_000, 1_000_000),
            script="$UNDER xz -T2 -2 -c --block-size=262144 $INPUT/text | tee x.xz | sha256sum; $UNDER xz -T2 -dc x.xz | sha256sum"),
    Program("zstd", "zstd", "C, two threads", prepare=TEXT, size=(20_000, 2_000_000),
            script="$UNDER zstd -T2 -12 -c -q $INPUT/text | tee x.zst | sha256sum; $UNDER zstd -dcq x.zst | sha256sum"),
    Program("gzip", "gzip", "C", prepare=TEXT, size=(20_000, 1_000_000), script="$UNDER gzip -cn $INPUT/text | sha256sum"),
    Program("bzip2", "bzip2", "C", prepare=TEXT, size=(20_000, 400_000), script="$UNDER bzip2 -c $INPUT/text | sha256sum"),
    Program("tar", "tar", "C", size=(1, 1),
            script="$UNDER tar --sort=name --mtime=@0 -cf - /usr/include/c++/*/ext 2> /dev/null | sha256sum"),
    Program("find", "findutils", "C", size=(1, 1), script="$UNDER find /usr/include /usr/share/doc -name '*h' | sha256sum"),
    Program("sed", "sed", "C", prepare=TEXT, script="$UNDER sed -E 's/([0-9]+) of ([0-9]+)/\\2 \\1/; G' $INPUT/text | sha256sum"),
    Program("mawk", "mawk", "C", prepare=TEXT,
            script="$UNDER mawk '{ n[$2 % 97] += $4 } END { for (i = 0; i < 97; i++) print i, n[i] }' $INPUT/text"),
    Program("diff", "diffutils", "C", prepare=TEXT + "sed '7~9d' $INPUT/text > $INPUT/other\n",
            script="{ $UNDER diff $INPUT/text $INPUT/other || true; } | sha256sum"),
    Program("curl", "curl", "C, TLS library", prepare=TEXT, script="$UNDER curl -s file://$INPUT/text | sha256sum"),
    Program("openssl", "openssl", "C, two processes; speed", prepare=TEXT, size=(1, 3), variants=HEAVY, script="""
        $UNDER openssl dgst -sha256 < $INPUT/text
        $UNDER openssl speed -seconds $N -multi 2 -bytes 1024 sha256 > speed.txt 2>&1; grep -c Got speed.txt"""),
    # Pictures, paper, the web
    Program("imagemagick", "imagemagick", "C, OpenMP threads", needs=("convert-im6.q16",), size=(150, 1_500), script="""
        $UNDER convert-im6.q16 -seed 1 -size ${N}x$N plasma:fractal -resize 150% -blur 0x3 ppm:- | sha256sum"""),
    Program("ffmpeg", "ffmpeg", "C, threads", size=(1, 20), variants=(PRODUCTION, "trace"), script="""
        $UNDER ffmpeg -v error -f lavfi -i testsrc=duration=$N -f lavfi -i sine=duration=$N -threads 2 -c:v mpeg4 -c:a aac \\
            -fflags +bitexact -flags:v +bitexact -flags:a +bitexact -f md5 -"""),
    Program("ghostscript", "ghostscript", "C, an allocator over malloc", needs=("gs",), size=(500, 20_000), prepare=POSTSCRIPT, script="""
        $UNDER gs -q -dBATCH -dNOPAUSE -dSAFER -sDEVICE=ppmraw -r100 -sOutputFile=out.ppm $INPUT/page.ps > gs.log 2>&1
        sha256sum < out.ppm"""),
    Program("gnuplot", "gnuplot-nox", "C, C++ inside", size=(1_000, 100_000),
            script="$UNDER gnuplot -e \"set terminal dumb; set samples $N; plot sin(x), x**2 / 50\""),
    Program("chromium", "chromium", "C++ with an allocator of its own, JIT, processes in sandboxes", size=(200, 20_000),
            variants=("count",), script="""
        { echo '<!DOCTYPE html><title>t</title><ul id=l></ul><script>'
          echo "for (let i = 0; i < $N; i++) l.appendChild(document.createElement('li')).textContent = i * 7919 % 10007</script>"; } > page.html
        $UNDER chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --user-data-dir=$PWD/profile \\
            --virtual-time-budget=5000 --dump-dom file://$PWD/page.html 2> chromium.log | sha256sum"""),
    # On a terminal
    Program("vim", "vim", "C", prepare=TEXT, script="""
        cp $INPUT/text text
        $UNDER vim -u NONE -i NONE -n -es -c '%s/of \\(\\d\\+\\)/\\1 of/' -c 'g/7$/m0' -c 'sort' -c 'undo' -c 'wq' text > /dev/null
        sha256sum < text"""),
    Program("tmux", "tmux", "C, a server and a client", size=(200, 5_000), script="""
        $UNDER tmux -f /dev/null -S $PWD/socket new-session -d -x 80 -y 24 "seq $N; sleep 60"
        until tmux -S $PWD/socket capture-pane -p | grep -q "^$N\\$"; do sleep 0.05; done
        tmux -S $PWD/socket capture-pane -p; tmux -S $PWD/socket kill-server"""),
]


@dataclasses.dataclass
class Outcome:
    status: int
    out: bytes
    err: bytes
    said: list  # by hakmem, in logs
    cpu: float  # seconds
    elapsed: float
    rss: int  # KiB
    runtime_dir: pathlib.Path
    store: pathlib.Path

    @property
    def answer(self):
        return self.status, self.out, self.err


class Runs:
    """Runs of one program in a folder of its own; `full` takes the larger size."""

    def __init__(self, program, directory, full=False):
        self.program, self.directory = program, directory
        self.size = program.size[1 if full else 0]
        self.input = directory / "input"
        self.input.mkdir()
        self.number = 0
        directory.chmod(0o755)
        if program.prepare:
            self.bash(program.prepare, directory, self.environment(directory, ""), check=True)

    def environment(self, folder, under):
        return harness.clean_environment(folder, PATH=PATH, UNDER=under, N=self.size, PORT=harness.free_port(),
                                         INPUT=self.input, SOURCE=harness.SOURCE, LC_ALL="C.UTF-8")

    def bash(self, script, folder, environment, **more):
        # In a session of its own: what it leaves running is ended with it.
        process = subprocess.Popen(["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=environment,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   start_new_session=True, **self.as_user())
        try:
            out, err = process.communicate(timeout=harness.TIMEOUT)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if more.get("check") and process.returncode != 0:
            raise RuntimeError(f"{self.program.name}: preparing it failed: {err.decode(errors='replace')}")
        return process.returncode, out, err

    def as_user(self):
        user = self.program.user
        return {"user": user, "group": user, "extra_groups": []} if user and os.geteuid() == 0 else {}

    def run(self, variant):
        """`variant` is None for no library, or one of VARIANTS."""
        self.number += 1
        folder = self.directory / f"{self.number}"
        work, runtime, figures = folder / "w", folder / "r", folder / "figures"
        for path in (folder, work, runtime):
            path.mkdir(mode=0o755 if path is folder else 0o700)
        figures.touch()
        settings = {}
        if variant == PRODUCTION:
            settings = harness.HakmemTest.preload_environment(runtime, "production")
        elif variant is not None:
            settings = harness.HakmemTest.preload_environment(runtime, "diag", variant, {"report": "stderr"})
        if self.as_user():
            for path in (work, runtime, figures):
                shutil.chown(path, self.program.user, self.program.user)
        under = " ".join([str(MEASURE), str(figures), "env", *(f"{name}={value}" for name, value in settings.items())])
        status, out, err = self.bash(self.program.script, work, self.environment(work, under))
        said = [f"{path.name}: {line}" for path in sorted(work.glob("*.log"))
                for line in path.read_text(errors="replace").splitlines() if re.search(r"\bhakmem: ", line)]
        rows = [line.split() for line in figures.read_text().splitlines()]
        # Paths of this very run in what was printed are no difference.
        out, err = (text.replace(str(work).encode(), b"$WORK") for text in (out, err))
        outcome = Outcome(status, out, err, said, sum(float(row[0]) for row in rows), sum(float(row[1]) for row in rows),
                          max((int(row[2]) for row in rows), default=0), runtime, folder / "incidents.db")
        shutil.rmtree(work, ignore_errors=True)
        return outcome

    def faults(self, outcome, expected, variant):
        """What is wrong with a run, in words; nothing if it is as without the library and nothing was seen."""
        faults = []
        for name in ("status", "out", "err"):
            here, there = getattr(outcome, name), getattr(expected, name)
            if here != there:
                faults.append(f"other {name}: {here!r:.1500} instead of {there!r:.1500}")
        faults += outcome.said
        if variant in harness.LEVELS:
            faults += self.incident_faults(outcome)
        return faults

    def incident_faults(self, outcome):
        folder = outcome.runtime_dir.parent
        with harness.Exporter(outcome.runtime_dir, outcome.store, folder) as exporter:
            metrics = exporter.metrics()
            incidents = exporter.incidents()
        frees = metrics.total("hakmem_frees_total")
        faults = [f"incident: {incident['kind']} in {incident['process']} {incident['stacks'].get('free')}"
                  for incident in incidents]
        if not frees:
            faults.append("no free was counted: it did not run under the library")
        for name, wanted in (("hakmem_incidents_total", "kind"), ("hakmem_incidents_dropped_total", "process")):
            if counted := metrics.by(name, wanted):
                faults.append(f"{name}: {counted}")
        if others := set(metrics.by("hakmem_header_invalid_total", "outcome")) - {"foreign"}:
            faults.append(f"headers invalid: {others}")
        mincore = metrics.total("hakmem_mincore_calls_total")
        if frees >= FREES_FOR_A_SHARE and mincore >= frees / 1000:
            faults.append(f"{mincore:.0f} mincore calls in {frees:.0f} frees")
        return faults
