// One incident: what happened in plain words, the stacks side by side, the bytes, the neighbours, what to do next.
import { useApi, useKinds } from './api'
import { dateTime, exact, hexByte, plural } from './format'
import { byteHint, headerMeaning } from './memory'
import { Dump, Neighbourhood } from './memoryviews'
import { Copy, Failure, Heading, kindTitle, KindMark, Level, Panel, Step, Time } from './parts'
import { withQuery } from './router'
import { ownFrame, shortName, StackView } from './stack'
import type { Incident, Kind, StackName } from './types'

const regions: Record<string, string> = {
    stack: 'lies on a stack: the address of a local variable',
    static: 'lies in static data: a global or a literal',
    mapping: 'lies in a mapping that is no heap',
    unmapped: 'is not mapped at all',
}

const outcomes: Record<string, string> = {
    recovered: 'the header was repaired and the block freed',
    foreign: 'passed on to the allocator that owns it',
    rejected: 'nothing was freed, the program ran on',
}

// Without a stack of its own, whoever is behind it stands for it.
const mainStack = ({ stacks }: Incident) =>
    [stacks.free, stacks.writer, stacks.suspect_alloc, stacks.previous_free].find((stack) => stack?.length) ?? stacks.alloc

// The title's second half.
function place(incident: Incident): string {
    const stack = mainStack(incident)
    if (!stack?.length) return ', noticed in passing'
    const name = shortName(ownFrame(stack))
    if (stack === incident.stacks.suspect_alloc) return ` behind a block of ${name}`
    return (foundLater.includes(incident.kind) ? ', found in ' : ' in ') + name
}

function blockText(incident: Incident): string {
    if (!incident.block_bytes) return 'a block'
    const asked = incident.asked_bytes ? ` (${exact(incident.asked_bytes)} asked for)` : ''
    return `a ${incident.size_class === 'large' ? 'large block' : 'block'} of ${exact(incident.block_bytes)} bytes${asked}`
}

// One sentence or two that tell the story of this very incident.
function story(incident: Incident, kind: Kind | undefined): string {
    const by = shortName(ownFrame(mainStack(incident)))
    const block = blockText(incident)
    const noticed = incident.stacks.free?.length ? `It was noticed when ${by} freed the block.` : 'It was noticed in passing, not by a free.'
    const allocated = incident.stacks.alloc ? ` It was allocated by ${shortName(ownFrame(incident.stacks.alloc))}.` : ''
    switch (incident.kind) {
        case 'double_free': {
            const before = incident.stacks.previous_free
            const first = before ? ` ${shortName(ownFrame(before))} had freed it before.` : ''
            return `${by} freed ${block} that was free already.${first}${allocated}`
        }
        case 'header_overwritten': {
            const found = incident.header ? `: ${incident.header.found} stands where ${incident.header.expected} should be` : ''
            const suspect = incident.stacks.suspect_alloc
                ? ` The block in front of it, allocated by ${shortName(ownFrame(incident.stacks.suspect_alloc))}, is the suspect.`
                : incident.suspect
                  ? ' The block in front of it is the suspect.'
                  : ''
            return `Somebody overwrote the header of ${block}${found}. ${noticed}${suspect}`
        }
        case 'header_write_caught':
            return `${shortName(ownFrame(incident.stacks.writer))} was caught writing over the header of ${block}.`
        case 'interior_pointer':
            return `${by} freed an address that lies ${exact(incident.offset)} bytes into ${block}.${allocated}`
        case 'foreign_pointer':
            return `${by} freed ${incident.address}, which ${regions[incident.region ?? ''] ?? 'no allocator handed out'}.`
        case 'redzone_overwritten':
            return incident.offset < 0
                ? `Bytes in front of ${block} were overwritten, the first ${exact(-incident.offset)} bytes before it. ${noticed}${allocated}`
                : `Bytes behind the end of ${block} were overwritten, the first ${exact(incident.offset)} bytes past it. ${noticed}${allocated}`
        default:
            return `${kind ? kind.what.charAt(0).toUpperCase() + kind.what.slice(1) : incident.kind}: ${block}, in ${by}.${allocated}`
    }
}

function Facts({ incident }: { incident: Incident }) {
    return (
        <dl class="facts">
            <div>
                <dt>Process</dt>
                <dd>
                    <a href={`/processes/${incident.pid}`}>{incident.process}</a> <span class="dim">pid {incident.pid}</span>
                </dd>
            </div>
            <div>
                <dt>Thread</dt>
                <dd>
                    {incident.thread || 'unnamed'} <span class="dim">tid {incident.tid}</span>
                </dd>
            </div>
            <div>
                <dt>Address</dt>
                <dd class="mono">{incident.address}</dd>
            </div>
            {incident.header && (
                <div>
                    <dt>Header</dt>
                    <dd class="mono">
                        <span class="found">{incident.header.found}</span>
                        {incident.header.expected !== '0x00' && <span class="dim"> expected {incident.header.expected}</span>}
                    </dd>
                </div>
            )}
            <div>
                <dt>First seen</dt>
                <dd>{dateTime(incident.first_seen)}</dd>
            </div>
            <div>
                <dt>Count</dt>
                <dd>
                    {exact(incident.count)}
                    {incident.count > 1 && (
                        <span class="dim">
                            {' '}
                            last <Time time={incident.last_seen} />
                        </span>
                    )}
                </dd>
            </div>
            {incident.outcome && (
                <div>
                    <dt>Outcome</dt>
                    <dd title={outcomes[incident.outcome]}>
                        {incident.outcome} <span class="dim">{outcomes[incident.outcome]}</span>
                    </dd>
                </div>
            )}
            <div>
                <dt>Level</dt>
                <dd>
                    <Level level={incident.level} />
                </dd>
            </div>
        </dl>
    )
}

interface StackTitle {
    name: StackName
    title: (kind?: Kind) => string
}

const stackTitles: StackTitle[] = [
    { name: 'writer', title: () => 'Written here' },
    { name: 'free', title: (kind) => kind?.free_title ?? 'Freed here' },
    { name: 'previous_free', title: () => 'Freed before here' },
    { name: 'suspect_alloc', title: () => 'The suspect was allocated here' },
    { name: 'alloc', title: () => 'Allocated here' },
]

const overflows = ['header_overwritten', 'header_write_caught', 'large_header_corrupt']

// Made somewhere else than where it was noticed.
const foundLater = ['header_overwritten', 'large_header_corrupt', 'redzone_overwritten', 'use_after_free_write']

// The neighbour's allocation is of interest only where the neighbour is accused of something.
const stacksOf = (incident: Incident) =>
    stackTitles.filter(
        ({ name }) => (incident.stacks[name]?.length ?? 0) > 0 && (name !== 'suspect_alloc' || overflows.includes(incident.kind)),
    )

function Stacks({ incident, kind }: { incident: Incident; kind?: Kind }) {
    const wanted = stacksOf(incident)
    return (
        <div class={`stacks stacks-${wanted.length}`}>
            {wanted.map(({ name, title }) => (
                <StackView
                    key={name}
                    incident={incident.id}
                    name={name}
                    title={title(kind)}
                    frames={incident.stacks[name]!}
                    accused={name === 'writer' || name === 'suspect_alloc'}
                />
            ))}
        </div>
    )
}

function HeaderText({ incident }: { incident: Incident }) {
    if (incident.header === null) return null
    const found = Number(incident.header.found)
    const expected = Number(incident.header.expected)
    return (
        <p class="header-text">
            The header byte is <code class="found">{hexByte(found)}</code>, {byteHint(found)}
            {expected !== 0 && expected !== found && (
                <>
                    ; expected was <code>{hexByte(expected)}</code>, {headerMeaning(expected)}
                </>
            )}
            .
        </p>
    )
}

function Reading({ incident }: { incident: Incident }) {
    if (!incident.reading) return null
    return (
        <p class="reading">
            <b>What was written:</b> {incident.reading}.
        </p>
    )
}

function Suspect({ incident }: { incident: Incident }) {
    const { suspect } = incident
    if (suspect === undefined || !overflows.includes(incident.kind)) return null
    const states: Record<string, string> = { in_use: 'in use', free: 'free', never_used: 'never used', unknown: 'in an unknown state' }
    return (
        <p class="suspect">
            <b>Suspect:</b> the {suspect.size_class === 'large' ? 'large ' : ''}block of {exact(suspect.block_bytes)} bytes at{' '}
            <code>{suspect.address}</code>, {states[suspect.state] ?? suspect.state}. It lies right in front, and whoever writes past its
            end hits this header first.
        </p>
    )
}

function Memory({ incident }: { incident: Incident }) {
    const bytes = incident.dump ? incident.dump.bytes.length / 2 : 0
    return (
        <Panel title="Memory" class="memory" aside={bytes > 0 && <span class="aside">{plural(bytes, 'byte')} around it</span>}>
            <Neighbourhood incident={incident} />
            <Reading incident={incident} />
            <Suspect incident={incident} />
            <Dump incident={incident} />
            <HeaderText incident={incident} />
        </Panel>
    )
}

function Next({ incident, kind }: { incident: Incident; kind?: Kind }) {
    if (kind === undefined) return null
    const values = { PID: String(incident.pid), FINGERPRINT: incident.fingerprint, PROCESS: incident.process, KIND: incident.kind }
    return (
        <Panel title="What to do next" class="next">
            <p>{kind.why}</p>
            <ol>
                {kind.next.map((step) => (
                    <li key={step}>
                        <Step text={step} values={values} />
                    </li>
                ))}
            </ol>
        </Panel>
    )
}

export function IncidentView({ id }: { id: string }) {
    const { data: incident, error } = useApi<Incident>(`/api/v1/incidents/${encodeURIComponent(id)}`, 10_000)
    const kinds = useKinds()
    if (incident === undefined)
        return (
            <>
                <Heading>{error ? 'No such incident' : 'Incident'}</Heading>
                <Failure error={error} />
                {error && (
                    <p>
                        It may have been deleted: the exporter keeps incidents for as many days as its <code>--retention</code> says.{' '}
                        <a href="/">All incidents</a>
                    </p>
                )}
            </>
        )
    const kind = kinds.get(incident.kind)
    return (
        <>
            <p class="crumbs">
                <a href="/">Incidents</a>
                <a href={withQuery('/', { kind: incident.kind })}>{kindTitle(kinds, incident.kind)}</a>
                <span class="mono">{incident.id}</span>
            </p>
            <div class="title-row">
                <Heading>
                    <KindMark kind={incident.kind} />
                    {kindTitle(kinds, incident.kind)}
                    {place(incident)}
                </Heading>
                <span class="actions">
                    <Copy text={`${location.origin}/incidents/${incident.id}`} label="Copy link" />
                    <Copy text={`hakmem incidents show ${incident.id}`} label="Copy command" />
                    <a class="button" href={`/api/v1/incidents/${incident.id}`}>
                        JSON
                    </a>
                </span>
            </div>
            <p class="story">{story(incident, kind)}</p>
            <Facts incident={incident} />
            <p class="fingerprint">
                Fingerprint <a href={`/groups/${incident.fingerprint}`} class="mono">{incident.fingerprint}</a>
                <span class="dim"> the same for this kind at this place in every process: all occurrences</span>
            </p>
            {stacksOf(incident).length !== 1 ? (
                <>
                    <Stacks incident={incident} kind={kind} />
                    <div class="pair">
                        <Memory incident={incident} />
                        <Next incident={incident} kind={kind} />
                    </div>
                </>
            ) : (
                <div class="with-one-stack">
                    <div class="column">
                        <Stacks incident={incident} kind={kind} />
                    </div>
                    <div class="column">
                        <Memory incident={incident} />
                        <Next incident={incident} kind={kind} />
                    </div>
                </div>
            )}
        </>
    )
}
