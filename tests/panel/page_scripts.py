"""Scripts for the page: drag and drop, which playwright cannot do with files, and a look at the canvas."""

from __future__ import annotations

# Return the data of a drag of the asset with this name: texts by type.
DRAG = """
name => {
    const cell = [...document.querySelectorAll('.ca-cell')].find(each => each.title.includes(name))
    const dataTransfer = new DataTransfer()
    cell.dispatchEvent(new DragEvent('dragstart', { bubbles: true, cancelable: true, dataTransfer }))
    return Object.fromEntries([...dataTransfer.types].map(type => [type, dataTransfer.getData(type)]))
}
"""

# Return whether a node on the canvas shows this text. Older pages have the graph as `app.graph`.
ON_CANVAS = """
text => (app.rootGraph ?? app.graph)?.nodes.some(
    node => node.widgets_values?.[0] === text || node.widgets?.some(widget => widget.value === text)
)
"""

# Drop a text file onto the panel.
DROP = """
({ name, text }) => {
    const dataTransfer = new DataTransfer()
    dataTransfer.items.add(new File([text], name, { type: 'text/plain' }))
    for (const type of ['dragenter', 'dragover', 'drop']) {
        const event = new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer })
        document.querySelector('.ca-tab-content').dispatchEvent(event)
    }
}
"""

# Make types of nodes known to the page that the standalone host lacks.
ADD_NODE_TYPES = """
async () => {
    const combo = names => [names, {}]
    const add = (name, required, output) => app.registerNodeDef(name, {
        name, display_name: name, description: '', category: 'loaders', python_module: 'nodes', output_node: false,
        input: { required }, output, output_name: output, output_is_list: output.map(() => false),
    })
    const strength = ['FLOAT', { default: 1 }]
    await add('CheckpointLoaderSimple', { ckpt_name: combo(['dreamscape_xl.safetensors']) }, ['MODEL', 'CLIP', 'VAE'])
    await add('LoraLoader', {
        model: ['MODEL'], clip: ['CLIP'], lora_name: combo(['film_grain.safetensors', 'ink_style.safetensors']),
        strength_model: strength, strength_clip: strength,
    }, ['MODEL', 'CLIP'])
}
"""

# Return the nodes of the graph by type: the values of their widgets, and the types of the nodes at their inputs.
GRAPH = """
() => {
    const graph = app.canvas.graph
    const nodes = graph.nodes ?? graph._nodes
    return Object.fromEntries(nodes.map(node => [node.type, {
        values: (node.widgets ?? []).map(widget => widget.value),
        sources: (node.inputs ?? []).map((_, slot) => node.getInputNode(slot)?.type).filter(Boolean),
    }]))
}
"""

# Drag the asset with this name onto the first node of a type, or onto the free canvas.
DRAG_ONTO = """
({ name, node }) => {
    const cell = [...document.querySelectorAll('.ca-cell')].find(each => each.title.includes(name))
    const dataTransfer = new DataTransfer()
    const fire = (target, type, [clientX, clientY] = [0, 0]) => target.dispatchEvent(
        new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer, clientX, clientY }))
    const { right, bottom } = app.canvas.canvas.getBoundingClientRect()
    const found = node && app.canvas.graph.nodes.find(each => each.type === node)
    const place = found
        ? app.canvasPosToClientPos([found.pos[0] + 20, found.pos[1] + 10]) : [right - 300, bottom - 300]
    fire(cell, 'dragstart')
    fire(app.canvas.canvas, 'dragover', place)
    fire(app.canvas.canvas, 'drop', place)
    fire(cell, 'dragend')
}
"""

# Ask for the menu of the element that has the focus, as the menu key does.
MENU_EVENT = """
element => element.dispatchEvent(new PointerEvent('contextmenu', { bubbles: true, cancelable: true, pointerType: '' }))
"""

# Return a point of the first node of a type on the screen, below its title, or of the free canvas.
NODE_POINT = """
type => {
    const { right, bottom } = app.canvas.canvas.getBoundingClientRect()
    const found = type && app.canvas.graph.nodes.find(each => each.type === type)
    return found ? app.canvasPosToClientPos([found.pos[0] + 20, found.pos[1] + 10]) : [right - 300, bottom - 300]
}
"""

# Add a node of a type to the graph, where the sidebar does not cover it.
ADD_IN_SIGHT = """
type => {
    const { right, bottom } = app.canvas.canvas.getBoundingClientRect()
    const node = LiteGraph.createNode(type)
    node.pos = app.clientPosToCanvasPos([right - 400, bottom - 500])
    app.canvas.graph.add(node)
}
"""
