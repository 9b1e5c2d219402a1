// Installs the npm packages of a folder's package-lock.json, nothing else, outside of the source tree: under
// CACHE/packages-HASH, where HASH is that of the lock file, so that only a change of it goes to the registry again. A
// build without network finds them under $HAKMEM_NPM_CACHE.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import * as path from 'node:path'

const files = ['package.json', 'package-lock.json']

// Returns the path of node_modules.
export function packages(source, cache) {
    cache = process.env.HAKMEM_NPM_CACHE || cache
    const lock = fs.readFileSync(path.join(source, 'package-lock.json'))
    const folder = path.join(cache, `packages-${createHash('sha256').update(lock).digest('hex').slice(0, 16)}`)
    const modules = path.join(folder, 'node_modules')
    if (fs.existsSync(path.join(folder, 'complete'))) return modules
    fs.rmSync(folder, { recursive: true, force: true })
    fs.mkdirSync(folder, { recursive: true })
    for (const name of files) fs.copyFileSync(path.join(source, name), path.join(folder, name))
    const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error']
    try {
        execFileSync('npm', ['ci', ...options], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
    } catch (error) {
        process.stderr.write(`${error.stdout ?? ''}${error.stderr ?? error}`)
        console.error(`hakmem: npm ci failed for ${source}: the npm registry is needed, once for each change of its packages`)
        process.exit(1)
    }
    fs.writeFileSync(path.join(folder, 'complete'), '')
    return modules
}
