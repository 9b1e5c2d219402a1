// What an incident's record tells about the memory around its block: which byte belongs to what, and the state of the
// slots left and right. Pure functions.
//
// The small blocks of a span lie in slots of equal size. The byte in front of a block is its header, so a cell is a
// header byte and the block behind it (see «The header byte» in docs/architecture.md).
import type { Incident } from './types'

export type Role = 'header' | 'left' | 'block' | 'right' | 'other-header'

export interface DumpByte {
    address: bigint
    value: number
    role: Role
}

export type HeaderMeaning = 'in use' | 'in use, watched' | 'free' | 'large or aligned block' | 'none'

const inUse = 0xa0
const free = 0x80
const watched = 0xc0
const wide = 0xe0 // and above
const classes = 0x1f

export function headerMeaning(byte: number): HeaderMeaning {
    if (byte >= wide) return 'large or aligned block'
    if ((byte & ~classes) === inUse) return 'in use'
    if ((byte & ~classes) === watched) return 'in use, watched'
    if ((byte & ~classes) === free) return 'free'
    return 'none'
}

// What a wrong header byte looks like to a person.
export function byteHint(byte: number): string {
    const meaning = headerMeaning(byte)
    if (byte === 0) return 'a zero byte, as at the end of a string or in a small number'
    if (byte === 0xff) return 'all bits set, as in −1'
    if (byte >= 0x20 && byte < 0x7f) return `the letter “${String.fromCharCode(byte)}”: text ran over it`
    if (meaning === 'free') return 'the form of a free block'
    if (meaning !== 'none') return 'a valid header, but not of this block'
    return 'no header value'
}

const parse = (hex: string) => BigInt(hex)

export const blockOf = (incident: Incident): bigint => parse(incident.block ?? incident.address)

const isSmall = (incident: Incident) => typeof incident.size_class === 'number' && incident.block !== undefined

// Floor division; BigInt's own rounds towards zero.
function cellOf(address: bigint, block: bigint, slot: bigint): number {
    const distance = address - (block - 1n)
    return Number(distance >= 0n ? distance / slot : -((-distance + slot - 1n) / slot))
}

export function dumpBytes(incident: Incident): DumpByte[] {
    if (incident.dump === null) return []
    const begin = parse(incident.dump.address)
    const block = blockOf(incident)
    const slot = isSmall(incident) ? BigInt(incident.block_bytes!) : null
    const out: DumpByte[] = []
    for (let i = 0; i + 1 < incident.dump.bytes.length; i += 2) {
        const address = begin + BigInt(i / 2)
        let role: Role = address < block - 1n ? 'left' : address === block - 1n ? 'header' : 'block'
        if (slot !== null && role !== 'header') {
            const cell = cellOf(address, block, slot)
            if (address === block - 1n + BigInt(cell) * slot) role = 'other-header'
            else role = cell < 0 ? 'left' : cell === 0 ? 'block' : 'right'
        }
        out.push({ address, value: parseInt(incident.dump.bytes.slice(i, i + 2), 16), role })
    }
    return out
}

export type SlotState = 'in use' | 'free' | 'never used' | 'corrupt' | 'unknown'

export interface Slot {
    index: number // 0: the incident's block
    address: bigint
    bytes: number
    state: SlotState
    header?: number // the byte, where the record has it
    suspect: boolean
}

const suspectStates: Record<string, SlotState> = { in_use: 'in use', free: 'free', never_used: 'never used', unknown: 'unknown' }

function stateOf(header: number, expected: number): SlotState {
    const meaning = headerMeaning(header)
    if ((header & classes) !== (expected & classes) || meaning === 'none') return 'corrupt'
    return meaning === 'free' ? 'free' : 'in use'
}

const reach = 2 // slots shown on each side

// The incident's slot and those beside it; empty where the block is not a small one.
export function neighbourhood(incident: Incident): Slot[] {
    if (!isSmall(incident)) return []
    const block = blockOf(incident)
    const slot = BigInt(incident.block_bytes!)
    const known = new Map(dumpBytes(incident).map((byte) => [byte.address, byte.value]))
    const expected = incident.header === null ? 0 : Number(incident.header.expected)
    const suspect = incident.suspect === undefined ? undefined : parse(incident.suspect.address)
    const slots: Slot[] = []
    for (let index = -reach; index <= reach; ++index) {
        const address = block + BigInt(index) * slot
        const own = index === 0 && incident.header !== null
        const header = own ? Number(incident.header!.found) : known.get(address - 1n)
        let state: SlotState = header !== undefined && expected !== 0 ? stateOf(header, expected) : 'unknown'
        const isSuspect = index !== 0 && address === suspect
        if (isSuspect && state === 'unknown') state = suspectStates[incident.suspect!.state] ?? 'unknown'
        slots.push({ index, address, bytes: Number(slot), state, header, suspect: isSuspect })
    }
    return slots
}

export const hex = (address: bigint) => `0x${address.toString(16)}`
