// The bytes around a header, and the slots left and right of a block, as pictures.
import { useEffect, useState } from 'preact/hooks'
import { exact, hexByte } from './format'
import { blockOf, dumpBytes, type DumpByte, hex, neighbourhood, type Slot } from './memory'
import type { Incident } from './types'

// As many bytes in a row as the screen is wide enough for.
const wide = matchMedia('(min-width: 641px)')

function useRowBytes(): number {
    const [isWide, set] = useState(wide.matches)
    useEffect(() => {
        const change = () => set(wide.matches)
        wide.addEventListener('change', change)
        return () => wide.removeEventListener('change', change)
    }, [])
    return isWide ? 16 : 8
}

const roleWords: Record<DumpByte['role'], string> = {
    header: 'the header byte',
    left: 'belongs to the slot in front',
    block: 'belongs to the block',
    right: 'belongs to the slot behind',
    'other-header': 'the header byte of a neighbour',
}

const letter = (value: number) => (value >= 0x20 && value < 0x7f ? String.fromCharCode(value) : '·')

export function Dump({ incident }: { incident: Incident }) {
    const rowBytes = useRowBytes()
    const bytes = dumpBytes(incident)
    if (bytes.length === 0) return <p class="dim">The record holds no bytes (option dump_bytes).</p>
    const rows = new Map<bigint, (DumpByte | undefined)[]>()
    for (const byte of bytes) {
        const row = byte.address - (byte.address % BigInt(rowBytes))
        if (!rows.has(row)) rows.set(row, new Array<DumpByte | undefined>(rowBytes).fill(undefined))
        rows.get(row)![Number(byte.address - row)] = byte
    }
    return (
        <div class="dump-scroll">
            <table class="dump">
                <caption class="offscreen">Memory around the header</caption>
                <tbody>
                    {[...rows].map(([address, cells]) => (
                        <tr key={String(address)}>
                            <th scope="row">{hex(address)}</th>
                            {cells.map((byte, i) => (
                                <td key={i} class={`byte ${byte?.role ?? ''}`} title={byte && `${hex(byte.address)}: ${roleWords[byte.role]}`}>
                                    {byte ? hexByte(byte.value) : ''}
                                </td>
                            ))}
                            <td class="letters">
                                {cells.map((byte, i) => (
                                    <span key={i} class={byte?.role ?? ''}>
                                        {byte ? letter(byte.value) : ' '}
                                    </span>
                                ))}
                            </td>
                        </tr>
                    ))}
                </tbody>
            </table>
            <p class="legend">
                <span class="key left">slot in front</span>
                <span class="key header">header byte</span>
                <span class="key block">the block</span>
            </p>
        </div>
    )
}

const stateClass = (slot: Slot) => slot.state.replace(' ', '-')

function slotTitle(slot: Slot): string {
    if (slot.index === 0) return 'this block'
    if (slot.suspect) return 'suspect'
    const distance = Math.abs(slot.index)
    return slot.index < 0 ? (distance === 1 ? 'in front' : `${distance} in front`) : distance === 1 ? 'behind' : `${distance} behind`
}

// The header's state of this block is what went wrong; its own state is told by the kind.
function stateText(slot: Slot): string {
    if (slot.index === 0 && slot.state === 'corrupt') return 'header corrupt'
    return slot.state
}

export function Neighbourhood({ incident }: { incident: Incident }) {
    const slots = neighbourhood(incident)
    if (slots.length === 0) return null
    const overflow = incident.kind === 'header_overwritten' || incident.kind === 'header_write_caught'
    return (
        <figure class="neighbours">
            <figcaption>
                Slots of {exact(slots[0].bytes)} bytes around {hex(blockOf(incident))}
            </figcaption>
            <ol>
                {slots.map((slot) => (
                    <li
                        key={slot.index}
                        class={`slot ${stateClass(slot)} ${slot.index === 0 ? 'own' : ''} ${slot.suspect && overflow ? 'suspect-slot' : ''} ${Math.abs(slot.index) > 1 ? 'far' : ''}`}
                        title={`${hex(slot.address)}, ${slot.state}`}
                    >
                        <span class="slot-header">{slot.header !== undefined ? hexByte(slot.header) : ''}</span>
                        <span class="slot-body">
                            <b>{overflow || !slot.suspect ? slotTitle(slot) : 'in front'}</b>
                            <span>{stateText(slot)}</span>
                        </span>
                    </li>
                ))}
            </ol>
        </figure>
    )
}
